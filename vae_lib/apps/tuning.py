"""Tuning: a search for settings on validation images, and what its choice is worth on test images."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import pandas as pd

from vae_lib.apps.search_space import SPACE, read_space
from vae_lib.config import MEASURES, RESULTS_VERSION, TrainConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.data.loading import load_dataset
from vae_lib.metrics.registry import HIGHER, METRICS, digits_of
from vae_lib.study.comparisons import compare_cells
from vae_lib.study.runner import in_parallel
from vae_lib.training.run import Run, check_run_name, list_runs
from vae_lib.utils.errors import DivergenceError, InputError
from vae_lib.utils.extras import require
from vae_lib.utils.files import ensure_writable, safe_name, write_json, write_text
from vae_lib.utils.runtime import start_tensorflow

if TYPE_CHECKING:
    from vae_lib.apps.search import Search


@dataclass(frozen=True)
class Tuning:
    """What a search found.

    Attributes:
        directory: Of the search: its journal, the runs of its trials, and those of the comparison.
        measure: What it searched by, by its name in `METRICS`.
        default: The config that it was to beat.
        chosen: The best on validation; the default itself if no trial was better.
        source: Where the pixels came from.
        trials: A row per trial, as `search.trials_table` returns it.
        importances: Of each setting, as `search.importances` returns them.
        comparison: A row per run of `default` and `chosen`, over the same seeds, none of them the search's:
            `config`, `seed`, `epochs`, `status`, the measure on validation and test images, `seconds` of
            training, `run`.
        looked_before: Runs of other choices that were scored on the same test images before.
    """

    directory: Path
    measure: str
    default: TrainConfig
    chosen: TrainConfig
    source: str
    trials: pd.DataFrame
    importances: pd.DataFrame
    comparison: pd.DataFrame
    looked_before: int

    @property
    def found(self) -> bool:
        """Whether the choice is better on validation and test by more than the noise of seeds."""
        sign = 1 if METRICS[self.measure].direction == HIGHER else -1
        differences = [self._difference(part) for part in ("val", "test")]
        whole = (self.comparison["status"] == "finished").all()
        return bool(whole) and all(d is not None and d.direction == sign for d in differences)

    def _difference(self, part: str):
        """Return what the choice changes, over pairs that share a seed; None where there is no pair."""
        default, chosen = (self.comparison[self.comparison["config"] == c] for c in ("default", "chosen"))
        return compare_cells(default, chosen, f"{self.measure}_{part}")

    def summary(self) -> str:
        """Return in lines of text what became of the trials, the comparison, and what was found."""
        counts = ", ".join(f"{n} {status}" for status, n in self.trials["status"].value_counts().items())
        lost = self.trials[self.trials["status"].isin(["diverged", "failed"])]
        lines = [
            f"{len(self.trials)} trials: {counts}",
            *(f"trial {t.trial}: {t.note}" for t in lost.itertuples()),
        ]
        digits = digits_of(self.measure)
        shown = {f"{self.measure}_{part}": f"{{:.{digits}f}}".format for part in ("val", "test")}
        columns = ["config", "seed", "epochs", *shown, "seconds", "status"]
        table = self.comparison[columns].to_string(index=False, formatters=shown)
        lines += [f"{self.source}: seeds that the search has not seen", table, self._verdict()]
        if self.looked_before:
            lines.append(
                f"{self.looked_before} runs of other choices were scored on these test images before"
            )
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.chosen == self.default:
            return f"found nothing: the default is the best of {len(self.trials)} trials"
        changes = self.default.difference(self.chosen)
        if self._difference("test") is None:
            return f"found nothing: no run of the choice ({changes}) has finished"
        unit, digits = METRICS[self.measure].unit, digits_of(self.measure)
        texts = [self._difference(part).as_text(unit, digits) for part in ("val", "test")]
        seconds = self.comparison.groupby("config")["seconds"].mean()
        cost = f"training took {seconds['chosen'] / seconds['default']:.2f} times the default's time"
        start = "found" if self.found else "found nothing that exceeds the noise of seeds"
        return f"{start}: {changes}; validation {texts[0]}, test {texts[1]}; {cost}"

    def write(self, out: Path) -> None:
        """Write `trials.csv`, `importances.csv`, `comparison.csv` and the figures into a folder."""
        from vae_lib.plots.save import save_figure
        from vae_lib.plots.tuning import plot_importances, plot_trials

        out.mkdir(parents=True, exist_ok=True)
        for name in ("trials", "importances", "comparison"):
            write_text(out / f"{name}.csv", getattr(self, name).to_csv(index=False))
        options = {"directory": out, "metadata": {"source": self.source, "search": self.directory.name}}
        title = f"Search on {self.source}"
        save_figure(plot_trials(self.trials, self.measure, title=title).figure, "trials", **options)
        if len(self.importances):
            save_figure(plot_importances(self.importances, title=title).figure, "importances", **options)


def tune(
    config: TrainConfig,
    data: ImageDataset | None = None,
    *,
    trials: int = 30,
    space: Mapping[str, str] | None = None,
    measure: str = "bits_per_dim",
    seeds: int = 3,
    n_jobs: int = 1,
    data_dir: Path | str = "data",
    models_dir: Path | str = "models/tune",
    name: str | None = None,
    out: Path | str | None = None,
    verbose: int = 1,
) -> Tuning:
    """Search for settings that beat a config at its own cost, and compare the choice with it.

    Every trial gets the time of the config's epochs, by a timing of both side by side: fewer epochs of a
    slower model, more of a faster one. Trials are scored on validation images at a quarter and at half of
    their steps, and go on if they are in the better half of their network so far (successive halving). The
    best at its end is trained with new seeds, as is the config itself; only these runs are scored on test
    images. The same call goes on with a search that was stopped, and several processes may make it at once,
    also on a backend of joblib such as Dask, if they share `models_dir`.

    Args:
        config: The default: what is not varied, and what is to be beaten.
        data: The images; None loads `config.dataset`.
        trials: How many, those of earlier calls included.
        space: Setting -> values, such as `SPACE | {"beta": "0.5:2:log"}`; None takes `SPACE`.
        measure: `bits_per_dim`, `elbo`, `mse` or `psnr`, of validation images.
        seeds: Runs of the choice and of the default that are compared, 2 at least.
        n_jobs: Worker processes, each on one thread.
        data_dir: Where `load_dataset` looks first.
        models_dir: Where the folder of the search is made.
        name: Of that folder; None derives it from all that the search depends on.
        out: Where a folder of that name is made for tables and figures; None writes none.
        verbose: Whether a line is printed for each trial.

    Returns:
        The choice, the trials and the comparison.

    Raises:
        InputError: If Optuna is missing, an argument is not allowed, or the folder holds another search.
        ChildProcessError: If a worker was killed; the same call goes on.
    """
    require("tune", "tune", "optuna")
    from vae_lib.apps.search import Search, best_config, importances, trials_table

    space = dict(SPACE if space is None else space)
    _check(config, space, trials, measure, seeds)
    if data is None:
        data = load_dataset(config.dataset, data_dir, image_size=config.image_size)
    data = data.subset(n_train=config.n_train)
    from vae_lib.training.trainer import check_fit

    check_fit(config, data)
    definition = _definition(config, data, space, measure)
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:8]
    name = f"{safe_name(Path(config.dataset))}-{measure}-{digest}" if name is None else check_run_name(name)
    folder = Path(models_dir) / name
    ensure_writable(folder, "--models_dir")
    if out is not None:
        ensure_writable(Path(out) / name)
    search = Search(folder, config, data.without_test(), space, measure)
    _claim_folder(search, definition)
    ended = len(trials_table(search))
    if verbose and ended:
        print(f"{ended} of {trials} trials have ended before", flush=True)
    calls = (joblib.delayed(_run_trial)(search, trials) for _ in range(trials - ended))
    for line in filter(None, in_parallel(calls, n_jobs)):
        if verbose:
            print(line, flush=True)
    chosen = best_config(search)
    comparison, looked_before = _compare(search, chosen, data, seeds, n_jobs)
    tables = trials_table(search), importances(search), comparison
    tuning = Tuning(folder, measure, config, chosen, data.source, *tables, looked_before)
    if out is not None:
        tuning.write(Path(out) / name)
    return tuning


def _check(config: TrainConfig, space: dict[str, str], trials: int, measure: str, seeds: int) -> None:
    read_space(space)
    for name, value, least in (("trials", trials, 1), ("seeds", seeds, 2)):
        if not isinstance(value, int) or value < least:
            raise InputError(f"{name} must be an integer, {least} or more; received {value!r}")
    if measure not in MEASURES:
        raise InputError(f"measure must be one of {', '.join(MEASURES)}; received {measure!r}")
    if measure == "bits_per_dim" and config.likelihood == "bernoulli":
        raise InputError("likelihood bernoulli has no bits_per_dim: choose --measure elbo")
    if config.annealing == "cyclical":
        raise InputError(
            "annealing must be none or linear in a search, whose trials have epochs of their own; received "
            "cyclical, which needs whole cycles"
        )


def _definition(config: TrainConfig, data: ImageDataset, space: dict[str, str], measure: str) -> dict:
    """Return all that the trials of a search depend on."""
    settings = {f"vary {name}": str(values) for name, values in space.items()}
    facts = {"measure": measure, "data": data.fingerprint(), "results version": RESULTS_VERSION}
    return config.to_dict() | settings | facts


def _claim_folder(search: "Search", definition: dict) -> None:
    """Write `search.json`, or raise InputError if it is there and says something else."""
    path = search.folder / "search.json"
    with search.lock("claim"):
        if not path.exists():
            write_json(path, definition)
            return
        try:
            earlier = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise InputError(f"{path} is damaged ({error}): choose another --name") from None
    names = [n for n in {**earlier, **definition} if earlier.get(n) != definition.get(n)]
    if names:
        changes = ", ".join(f"{n}: {_brief(earlier.get(n))} -> {_brief(definition.get(n))}" for n in names)
        raise InputError(f"{search.folder} holds another search ({changes}): choose another --name")


def _brief(value) -> str:
    return f"{'not' if value is None else value:.24}" if isinstance(value, str | None) else str(value)


def _run_trial(search: "Search", n_trials: int) -> str | None:
    start_tensorflow(1)  # before what imports it
    from vae_lib.apps.trials import run_trial

    return run_trial(search, n_trials)


def _compare(
    search: "Search", chosen: TrainConfig, data: ImageDataset, seeds: int, n_jobs: int
) -> tuple[pd.DataFrame, int]:
    """Train the choice and the default with new seeds, or find it done, and score them on all images."""
    folder, default = search.folder / "final", search.default
    configs = {"default": default} if chosen == default else {"default": default, "chosen": chosen}
    numbers = range(default.seed + 1, default.seed + 1 + seeds)
    pairs = [(label, replace(config, seed=seed)) for seed in numbers for label, config in configs.items()]
    with search.lock("final"):  # another process that has come so far waits, and finds it done
        calls = (joblib.delayed(_final_run)(label, c, data, folder, search.measure) for label, c in pairs)
        rows = list(in_parallel(calls, n_jobs))
    others = [
        run for run in list_runs(folder) if replace(run.config, seed=default.seed) not in configs.values()
    ]
    table = pd.DataFrame(rows).sort_values(["seed", "config"], ascending=[True, False], ignore_index=True)
    return table, sum(run.is_done for run in others)


def _final_run(label: str, config: TrainConfig, data: ImageDataset, folder: Path, measure: str) -> dict:
    start_tensorflow(1)
    from vae_lib.training.trainer import train

    row = {"config": label, "seed": config.seed, "epochs": config.epochs}
    try:
        run = train(config, data, models_dir=folder, verbose=0)
    except DivergenceError:
        run = Run(folder / config.run_name(data.fingerprint()))
    scores = {f"{measure}_{part}": run.metrics.get(f"{measure}_{part}", math.nan) for part in ("val", "test")}
    return row | {
        "status": run.metrics["status"],
        **scores,
        "seconds": run.record["seconds"],
        "run": run.name,
    }
