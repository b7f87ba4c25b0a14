"""A session of the notebook: its data sets, the runs it reads, and where its figures go."""

import dataclasses
import io
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from vae_lib.config import STUDIES
from vae_lib.data.dataset import ImageDataset, title_of
from vae_lib.data.loading import load_or_stand_in
from vae_lib.evaluation.baselines import fit_pca
from vae_lib.plots.save import save_figure
from vae_lib.study.grids import REAL, STUDY_EVALUATION, all_configs, preset_comparisons, showcase
from vae_lib.study.results import read_results, runs_by_comparison
from vae_lib.study.runner import run_study
from vae_lib.training.run import Run, load_run
from vae_lib.training.trainer import train
from vae_lib.utils.errors import InputError

LIVE = {  # what section 4 trains, by preset: epochs, and training images (None: all)
    "smoke": {"epochs": 1, "width": 4, "dense_units": 32},
    "quick": {"epochs": 4, "n_train": 20_000},
    "full": {"epochs": 10, "n_train": None},
}
_SMOKE = {"n_train": 256, "n_val": 128, "n_test": 128}  # images of each data set
_SMOKE_SCALES = {"scale_latents": (2,), "scale_blocks": (1,)}  # of a hierarchical network: it compiles slowly
_N_PCA = 10_000  # training images that a PCA is fitted to


class Lazy(dict):
    """A dict that makes what it lacks from the key, when it is first asked for."""

    def __init__(self, make: Callable):
        super().__init__()
        self._make = make

    def __missing__(self, key):
        self[key] = self._make(key)
        return self[key]


class Session:
    """What the cells of the notebook share.

    Attributes:
        datasets: Names of the two data sets that most sections compare.
        data: Data set of each name, or its embedded stand-in; loaded when asked for, as is what follows.
        titles: Name and source of each data set, for captions.
        pca: PCA of 128 axes, fitted to training images of each data set.
        runs: Run of each name of the showcase. Where its images are stand-ins, a short training of its kind.
        models: Model of each of these runs.
        table: A row per run and score of the study, `results.read_results`.
        study: A row per run, for each comparison of the study.
        live: Epochs and training images of what the notebook trains itself.
    """

    def __init__(self, preset: str, data_dir: Path, models_dir: Path, images_dir: Path):
        """Open a session; nothing is loaded yet.

        Args:
            preset: `smoke`, `quick` or `full`; the last computes what the study lacks.
            data_dir: Where `load_dataset` looks first.
            models_dir: Where runs are kept; those that come with the project in `study` and `showcase`.
            images_dir: Where figures go.

        Raises:
            InputError: If there is no such preset.
        """
        if preset not in LIVE:
            raise InputError(f"VAE_PRESET is {preset!r}: choose {', '.join(STUDIES[:-1])} or {STUDIES[-1]}")
        self.preset, self.live, self.datasets = preset, LIVE[preset], REAL
        self.data_dir, self.models_dir, self.images_dir = Path(data_dir), Path(models_dir), Path(images_dir)
        self.data, self.runs = Lazy(self._load), Lazy(self._run_of)
        self.titles = Lazy(lambda name: f"{self.data[name].title} ({self.data[name].source})")
        self.models = Lazy(lambda name: self.runs[name].model())
        self.pca = Lazy(lambda name: fit_pca(self.data[name].x_train[:_N_PCA], 128))

    def _load(self, name: str) -> ImageDataset:
        sample = _SMOKE if self.preset == "smoke" else {}
        return load_or_stand_in(name, self.data_dir).subset(**sample)

    def _run_of(self, name: str) -> Run:
        config, data = showcase()[name], self.data[showcase()[name].dataset]
        if self._comes_with_the_project(name, data):
            return load_run(self.models_dir / "showcase" / name)
        print(f"{name}: no model of these images comes with the project, so a short training instead")
        few_scales = self.preset == "smoke" and config.network == "hierarchical"
        short = self.live | (_SMOKE_SCALES if few_scales else {})
        return train(dataclasses.replace(config, **short), data, models_dir=self.models_dir, verbose=0)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Every run of the study, and every score."""
        configs, runs = all_configs("full"), self.models_dir / "study"
        if self.preset == "full":
            places = {"data_dir": self.data_dir, "models_dir": runs}
            run_study(configs, n_jobs=2, evaluation=STUDY_EVALUATION, progress=True, **places)
        return read_results(configs, runs, STUDY_EVALUATION)  # whatever is complete

    @cached_property
    def study(self) -> dict[str, pd.DataFrame]:
        """The runs of each comparison."""
        return runs_by_comparison(self.table, preset_comparisons("full"))

    def is_of_study(self, name: str) -> bool:
        """Whether a data set has the very pixels of the project's runs: only then do both share a figure."""
        return self._comes_with_the_project(f"{name}-z32", self.data[name])

    def _comes_with_the_project(self, name: str, data: ImageDataset) -> bool:
        folder = self.models_dir / "showcase" / name
        known = load_run(folder).data["fingerprint"] if (folder / "metrics.json").is_file() else None
        return data.fingerprint() == known

    def summary(self) -> str:
        """Say in Markdown what there is, and which real data sets are not available here."""
        lines = [
            f"Preset {self.preset}: figures go to {self.images_dir}/, runs to {self.models_dir}/. The study "
            f"has {self.table['run'].nunique()} runs, which come with the project; their images were "
            f"{'; '.join(self.table['source'].unique())}."
        ]
        lines += [
            f"**{title_of(name)} is not available here: {self.data[name].name} stand in for it. What the "
            f"text says of {title_of(name)}, also beside other sets, is read from the committed notebook.**"
            for name in (*REAL, "mnist")
            if "stand-in" in self.data[name].source
        ]
        return "\n\n".join(lines)

    @staticmethod
    def pretty(frame: pd.DataFrame, digits: int = 3) -> None:
        """Display a table with a fixed number of digits."""
        from IPython.display import display

        display(frame.style.format(precision=digits, thousands=",", na_rep=""))

    def show(self, figure, name: str, *studied: pd.DataFrame, **facts) -> None:
        """Save a figure as PNG and SVG with facts inside, and display it.

        Args:
            figure: A Matplotlib figure.
            name: Of the files.
            studied: Runs of the study that it shows: their sources, seeds and names are facts.
            facts: More facts, such as source, runs and seeds.
        """
        from IPython.display import Image as Shown
        from IPython.display import display

        if studied:
            runs = pd.concat(studied)
            facts |= {"source": "; ".join(runs["source"].unique()), "runs": sorted(set(runs["run"]))}
            facts["seeds"] = sorted(int(seed) for seed in runs["seed"].unique())
        dpi = 80 if self.preset == "smoke" else 200
        metadata = {"preset": self.preset, **facts}
        paths = save_figure(figure, name, directory=self.images_dir, dpi=dpi, metadata=metadata)
        width = round(figure.get_size_inches()[0] * 96)  # CSS pixels
        display(Shown(small_png(paths[0]), width=width, alt=name))


def small_png(path: Path) -> bytes:
    """Return a PNG file at half its size, with a palette where that changes a pixel by one level at most.

    The change is the mean over pixels. A notebook of such figures is a third smaller.
    """
    with Image.open(path) as image:
        shown = image.convert("RGB").reduce(2)
    few = shown.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    near = np.abs(np.asarray(few.convert("RGB"), int) - np.asarray(shown, int)).mean() <= 1
    buffer = io.BytesIO()
    (few if near else shown).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
