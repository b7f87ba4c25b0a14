"""A study: many runs of a grid of configs, and one table of their scores.

A finished run is found by its name, so a study that was stopped is resumed by running it again.
"""

import itertools
import logging
from pathlib import Path

import joblib
import pandas as pd

from vae_lib.config import TrainConfig
from vae_lib.data import ImageDataset, load_dataset, load_or_stand_in
from vae_lib.startup import start_tensorflow

_logger = logging.getLogger(__name__)


def grid(base: TrainConfig, **axes) -> list[TrainConfig]:
    """Return a config for every combination of the values of some fields.

    Args:
        base: Every other field.
        axes: Field name -> values, such as `latent_dim=(2, 8, 32), seed=range(3)`.
    """
    combinations = itertools.product(*axes.values())
    return [
        TrainConfig.from_dict({**base.to_dict(), **dict(zip(axes, values, strict=True))})
        for values in combinations
    ]


def run_one(config: TrainConfig, places: dict, stand_ins: bool, threads: int | None) -> dict:
    """Train one config, or find it done; return its row of the table.

    Args:
        config: What to train.
        places: `data_dir` and `models_dir`.
        stand_ins: Take an embedded data set where the real one cannot be had.
        threads: Processor threads; None leaves TensorFlow as it is. A study's numbers depend on it.
    """
    start_tensorflow(threads)
    from vae_lib.training import DivergenceError, train

    data = _load(config, places["data_dir"], stand_ins)
    row = {**config.to_dict(), "source": data.source}
    try:
        run = train(config, data, models_dir=places["models_dir"], verbose=0)
    except DivergenceError as error:
        return {**row, "status": "diverged", "error": str(error)}
    return {**row, "run": run.name, "seconds": run.record["seconds"], **run.metrics}


def run_study(
    configs: list[TrainConfig],
    *,
    n_jobs: int = 1,
    data_dir: Path | str = "data",
    models_dir: Path | str = "models",
    stand_ins: bool = False,
) -> pd.DataFrame:
    """Train every config that has not been trained yet; return a row per config, in their order.

    Args:
        configs: What to train, such as `grid(...)`.
        n_jobs: Worker processes, each on one thread: two of them do more than one on two threads.
        data_dir: Where `load_dataset` looks first.
        models_dir: Where the runs are kept.
        stand_ins: Take an embedded data set where the real one cannot be had; `source` says so.

    Returns:
        Columns: the config's fields, `source`, `run`, `status`, `seconds`, and the scores.
    """
    places = {"data_dir": str(data_dir), "models_dir": str(models_dir)}
    for name, size in dict.fromkeys((config.dataset, config.image_size) for config in configs):
        _logger.info("loading %s at %s", name, size)
        _load_by_name(name, size, data_dir, stand_ins)  # once here: workers then find it on the disk
    calls = [joblib.delayed(run_one)(config, places, stand_ins, 1) for config in configs]
    return pd.DataFrame(joblib.Parallel(n_jobs=n_jobs)(calls))


def _load(config: TrainConfig, data_dir, stand_ins: bool) -> ImageDataset:
    return _load_by_name(config.dataset, config.image_size, data_dir, stand_ins)


def _load_by_name(name: str, image_size, data_dir, stand_ins: bool) -> ImageDataset:
    if stand_ins:
        return load_or_stand_in(name, data_dir)
    return load_dataset(name, data_dir, image_size=image_size)
