"""A study: many runs of a grid of configs, and one tidy table of their scores.

A finished run is found by its name, so a study that was stopped is resumed by running it again. Any backend
of joblib will do: processes here, or those of a cluster (`joblib.parallel_config("dask")`).
"""

import contextlib
import dataclasses
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import joblib
import pandas as pd

from vae_lib.config import EvaluationConfig, TrainConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.data.loading import load_dataset, load_or_stand_in
from vae_lib.evaluation.metric_table import records
from vae_lib.study.results import as_table, finished_runs, is_complete, rows_of, scorecard_path, sort_configs
from vae_lib.training.run import Run
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import write_json
from vae_lib.utils.runtime import start_tensorflow

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class StudyPaths:
    """Where a cell finds its images and leaves its run, and whether a stand-in will do."""

    data_dir: str
    models_dir: str
    stand_ins: bool

    def load(self, name: str, image_size: int | None) -> ImageDataset:
        """Return a data set, or its embedded stand-in where that is allowed."""
        if self.stand_ins:
            return load_or_stand_in(name, self.data_dir, image_size=image_size)
        return load_dataset(name, self.data_dir, image_size=image_size)

    def run_of(self, config: TrainConfig, data: ImageDataset) -> Run:
        """Return where the run of a config on these images is, or will be."""
        fingerprint = data.subset(n_train=config.n_train).fingerprint()
        return Run(Path(self.models_dir) / config.run_name(fingerprint))


def run_cell(
    config: TrainConfig, places: StudyPaths, protocol: EvaluationConfig | None, threads: int
) -> list[dict]:
    """Train and score one config, or find it done; return its rows. What fails is a row, not an error.

    Args:
        config: What to train.
        places: Where.
        protocol: Of the scorecard; None takes the scores of the training's end alone.
        threads: Processor threads. A study's numbers depend on them.
    """
    start_tensorflow(threads)
    from vae_lib.training.trainer import DivergenceError, train

    try:
        data = places.load(config.dataset, config.image_size)
        run = places.run_of(config, data)
        try:
            train(config, data, models_dir=places.models_dir, verbose=0)
        except DivergenceError:
            return rows_of(run, protocol)
        if not is_complete(run, protocol):
            _score(run, data, places.models_dir, protocol)
        return rows_of(run, protocol)
    except (InputError, OSError) as error:
        return [{**config.to_dict(), "status": "failed", "error": str(error)}]
    except Exception as error:  # of TensorFlow, of memory: the other cells go on
        _logger.exception("a cell of %s failed", config.dataset)
        return [{**config.to_dict(), "status": "failed", "error": f"{type(error).__name__}: {error}"}]


def _score(run: Run, data: ImageDataset, models_dir: str, protocol: EvaluationConfig) -> None:
    """Take every measure, and keep them beside the run."""
    from vae_lib.evaluation.classifier import has_classes, load_classifier
    from vae_lib.evaluation.scorecard import scorecard

    classifier = load_classifier(data, models_dir) if has_classes(data) else None
    table = scorecard(run.model(), data.subset(n_train=run.config.n_train), classifier, protocol)
    write_json(scorecard_path(run), {"protocol": protocol.to_dict(), "rows": records(table)})


def run_study(
    configs: list[TrainConfig],
    *,
    n_jobs: int = 1,
    protocol: EvaluationConfig | None = None,
    data_dir: Path | str = "data",
    models_dir: Path | str = "models",
    stand_ins: bool = False,
    tell: Callable[[str], None] = _logger.info,
) -> pd.DataFrame:
    """Train and score every config that has not been yet; return a row per run and measure.

    Args:
        configs: What to train, such as `grid(...)`; one that is given twice is trained once.
        n_jobs: Worker processes, each on one thread: two of them do more than one on two threads.
        protocol: Of the scorecard of each run; None takes the scores of the training's end alone.
        data_dir: Where `load_dataset` looks first.
        models_dir: Where the runs are kept.
        stand_ins: Take an embedded data set where the real one cannot be had; `source` says so.
        tell: Called with a line when a cell is done: how many are, and the time left.

    Returns:
        Columns: `run`, the config's fields, `source`, `status` ("finished", "diverged" or "failed"), `error`,
        `parameters`, `seconds` of training; `split`, `measure`, `of`, `value`, `half_width` (95 % over
        evaluation seeds), `n` images, `unit`, `better`. Rows are in an order of their own, whatever that of
        the configs and however many worked.
    """
    configs, places = sort_configs(configs), StudyPaths(str(data_dir), str(models_dir), stand_ins)
    done = _look_up(configs, places, protocol, tell)
    left = [config for config in configs if config not in done]
    if protocol is not None:
        sets = dict.fromkeys((config.dataset, config.image_size) for config in left)
        joblib.Parallel(n_jobs=n_jobs)(joblib.delayed(_prepare)(*one, places) for one in sets)
    calls = (joblib.delayed(_named)(config, places, protocol) for config in left)
    began, computed = time.monotonic(), 0
    with warnings.catch_warnings():
        # joblib renews a worker whose memory has grown, as that of TensorFlow does; nothing is lost by it
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
        for config, rows in joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(calls):
            done[config], computed = rows, computed + 1
            rest = _duration((time.monotonic() - began) / computed * (len(left) - computed))
            name = rows[0].get("run") or rows[0]["error"]
            tell(f"{len(done)} of {len(configs)}: {rows[0]['status']} {name}; about {rest} left")
    return as_table([row for config in configs for row in done[config]])


def _look_up(
    configs: list[TrainConfig],
    places: StudyPaths,
    protocol: EvaluationConfig | None,
    tell: Callable[[str], None],
) -> dict[TrainConfig, list[dict]]:
    """Return the rows of what is complete; of images that cannot be had, whatever was computed elsewhere."""
    done, there = {}, None
    for name, size in dict.fromkeys((config.dataset, config.image_size) for config in configs):
        members = [config for config in configs if (config.dataset, config.image_size) == (name, size)]
        tell(f"loading {name}")
        try:
            data = places.load(name, size)
            runs = {config: places.run_of(config, data) for config in members}
        except InputError:  # a cell that is not complete will say so
            there = finished_runs(places.models_dir) if there is None else there
            runs = {config: there[config] for config in members if config in there}
        for config, run in runs.items():
            with contextlib.suppress(InputError, OSError):  # damaged: its cell says so, and stops no other
                if is_complete(run, protocol):
                    done[config] = rows_of(run, protocol)
    return done


def _prepare(name: str, image_size: int | None, places: StudyPaths) -> None:
    """Train the classifier of a data set, once for all cells; where there are no images, these say so."""
    start_tensorflow(1)
    from vae_lib.evaluation.classifier import has_classes, load_classifier

    with contextlib.suppress(InputError):
        data = places.load(name, image_size)
        if has_classes(data):
            load_classifier(data, places.models_dir)


def _named(config: TrainConfig, places: StudyPaths, protocol: EvaluationConfig | None):
    return config, run_cell(config, places, protocol, 1)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
