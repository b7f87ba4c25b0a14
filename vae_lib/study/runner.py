"""A study: many runs of a grid of configs, and one tidy table of their scores.

A finished run is found by its name, so a study that was stopped is resumed by running it again. Any backend
of joblib will do: processes here, or those of a cluster (`joblib.parallel_config("dask")`).
"""

import contextlib
import dataclasses
import itertools
import logging
import math
import statistics
import sys
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import joblib
import pandas as pd
from tqdm import tqdm

from vae_lib.config import EvaluationConfig, TrainConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.data.loading import load_dataset, load_or_stand_in
from vae_lib.study.grids import sort_configs
from vae_lib.study.results import finished_runs, is_complete, results_table, rows_of, write_scorecard
from vae_lib.training.run import Run
from vae_lib.utils.errors import DivergenceError, InputError
from vae_lib.utils.runtime import start_tensorflow

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class StudyPaths:
    """Where a cell finds its images and leaves its run, and whether a stand-in will do."""

    data_dir: str
    models_dir: str
    stand_ins: bool = False

    def load(self, config: TrainConfig) -> ImageDataset:
        """Return the data set of a config, or its embedded stand-in where that is allowed."""
        load = load_or_stand_in if self.stand_ins else load_dataset
        return load(config.dataset, self.data_dir, image_size=config.image_size)

    def run_of(self, config: TrainConfig, data: ImageDataset) -> Run:
        """Return where the run of a config on these images is, or will be."""
        fingerprint = data.subset(n_train=config.n_train).fingerprint()
        return Run(Path(self.models_dir) / config.run_name(fingerprint))


def run_cell(
    config: TrainConfig, paths: StudyPaths, evaluation: EvaluationConfig | None, threads: int
) -> list[dict]:
    """Train and score one config, or find it done; return its rows. What fails is a row, not an error.

    Args:
        config: What to train.
        paths: Of images and runs.
        evaluation: Of the scorecard; None takes the scores of the training's end alone.
        threads: Processor threads. A study's numbers depend on them.
    """
    start_tensorflow(threads)
    from vae_lib.evaluation.classifier import has_classes, load_classifier
    from vae_lib.evaluation.scorecard import scorecard
    from vae_lib.training.trainer import train

    try:
        data = paths.load(config)
        run = paths.run_of(config, data)
        with contextlib.suppress(DivergenceError):  # its row says so
            train(config, data, models_dir=paths.models_dir, verbose=0)
        if not is_complete(run, evaluation):
            # The first cell of a data set trains its classifier, and the others wait for it.
            classifier = load_classifier(data, paths.models_dir) if has_classes(data) else None
            table = scorecard(run.model(), data.subset(n_train=config.n_train), classifier, evaluation)
            write_scorecard(run, table, evaluation)
        return rows_of(run, evaluation)
    except (InputError, OSError) as error:
        return [{**config.to_dict(), "status": "failed", "error": str(error)}]
    except Exception as error:  # of TensorFlow, of memory: the other cells go on
        _logger.exception("a cell of %s failed", config.dataset)
        return [{**config.to_dict(), "status": "failed", "error": f"{type(error).__name__}: {error}"}]


def run_study(
    configs: Iterable[TrainConfig],
    *,
    n_jobs: int = 1,
    evaluation: EvaluationConfig | None = None,
    data_dir: Path | str = "data",
    models_dir: Path | str = "models",
    stand_ins: bool = False,
    progress: bool = False,
) -> pd.DataFrame:
    """Train and score every config that has not been yet; return a row per run and score.

    Args:
        configs: What to train, such as `grid(...)`; one that is given twice is trained once.
        n_jobs: Worker processes, each on one thread: two of them do more than one on two threads.
        evaluation: Of the scorecard of each run; None takes the scores of the training's end alone.
        data_dir: Where `load_dataset` looks first.
        models_dir: Where the runs are kept.
        stand_ins: Take an embedded data set where the real one is not available; `source` says so.
        progress: Show on stderr how many cells are done, and the time left.

    Returns:
        Columns: `run`, the config's fields, `source`, `status` ("finished", "diverged" or "failed"), `error`,
        `parameters`, `seconds` of training; `score` (its column in `by_run`), `metric`, `target`, `value`,
        `half_width` (95 % over evaluation seeds), `n` images, `note`, `unit`, `direction`. Rows are in an
        order of their own, whatever that of the configs and however many worked.
    """
    configs, paths = sort_configs(configs), StudyPaths(str(data_dir), str(models_dir), stand_ins)
    done = _find_complete(configs, paths, evaluation)
    left = [config for config in configs if config not in done]
    calls = (joblib.delayed(_run_named)(config, paths, evaluation) for config in left)
    bar = {"total": len(configs), "initial": len(done), "unit": "run", "disable": not (progress and left)}
    if not sys.stderr.isatty():  # a line a run, for a log
        bar["bar_format"] = "{n_fmt} of {total_fmt} runs, {remaining} left\n"
    done |= tqdm(in_parallel(calls, n_jobs), **bar)
    return results_table(row for config in configs for row in done[config])


def in_parallel(calls: Iterable, n_jobs: int) -> Iterator:
    """Yield what delayed calls return, the first to finish first, on the backend of joblib that is chosen.

    Raises:
        ChildProcessError: If a worker process was killed.
    """
    with warnings.catch_warnings():
        # joblib renews a worker whose memory has grown, as that of TensorFlow does; nothing is lost by it
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
        try:
            yield from joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(calls)
        except BrokenProcessPool:
            raise ChildProcessError("a worker was killed, perhaps for memory: --jobs 1 needs least") from None


def _find_complete(
    configs: list[TrainConfig], paths: StudyPaths, evaluation: EvaluationConfig | None
) -> dict[TrainConfig, list[dict]]:
    """Return the rows of what is complete; where images are not available, of what was computed elsewhere."""
    done, sets, elsewhere = {}, {}, None
    for config in configs:
        with contextlib.suppress(InputError, OSError):  # damaged: its cell says so, and stops no other
            key = config.dataset, config.image_size
            if key not in sets:
                try:
                    sets[key] = paths.load(config)
                except InputError:  # a cell that is not complete will say so
                    sets[key] = None
            if sets[key] is None and elsewhere is None:
                elsewhere = finished_runs(paths.models_dir)
            run = elsewhere.get(config) if sets[key] is None else paths.run_of(config, sets[key])
            if run is not None and is_complete(run, evaluation):
                done[config] = rows_of(run, evaluation)
    return done


def _run_named(config: TrainConfig, paths: StudyPaths, evaluation: EvaluationConfig | None):
    return config, run_cell(config, paths, evaluation, 1)


def estimate(configs: Iterable[TrainConfig], paths: StudyPaths, n_jobs: int) -> str:
    """Say what is left to train, by data set, and how long it takes by the runs that are there already.

    The cost of a training image is the median of finished runs of the same data set, or else of the cost
    per pixel of all finished runs; other machines and models differ.

    Args:
        configs: Of the study.
        paths: Of its images and runs.
        n_jobs: Workers that share the time.

    Raises:
        InputError: If the images of a run that is left are not available.
    """
    configs, runs = sort_configs(configs), list(finished_runs(paths.models_dir).values())
    done = _find_complete(configs, paths, None)
    lines, hours = [], 0.0
    for name, cells in itertools.groupby(configs, lambda config: config.dataset):
        cells = list(cells)
        remaining = [config for config in cells if config not in done]
        data = paths.load(remaining[0]) if remaining else None
        needed = sum(_seconds(config, data, runs) for config in remaining) / 3600
        hours += needed
        lines.append(f"{name}: {len(remaining)} of {len(cells)} runs left, {needed:.2f} core-hours")
    if math.isnan(hours):
        lines.append("nan: no finished run says what an image costs here; train one cell to find out")
    total = f"training: {hours:.2f} core-hours, about {hours / n_jobs:.2f} h on {n_jobs} workers"
    return "\n".join([*lines, f"{total}; scoring is extra"])


def _seconds(config: TrainConfig, data: ImageDataset, runs: list[Run]) -> float:
    """Return how long a training takes: by runs of the data set, else by pixels in all runs, else NaN."""
    costs = [(run, run.record["seconds"] / (run.config.epochs * run.data["n_train"])) for run in runs]
    same = [cost for run, cost in costs if run.config.dataset == config.dataset]
    pixels = math.prod(data.image_shape[:2])
    other = [cost * pixels / math.prod(run.data["image_shape"][:2]) for run, cost in costs]
    images = config.epochs * len(data.subset(n_train=config.n_train).x_train)
    return images * statistics.median(same or other or [math.nan])
