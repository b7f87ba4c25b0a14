"""How long a study will take on this machine: measured on short trainings, not guessed."""

import dataclasses
import tempfile
from collections.abc import Callable

from vae_lib.config import TrainConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.study.results import finished_runs
from vae_lib.study.runner import StudyPaths
from vae_lib.utils.errors import InputError
from vae_lib.utils.runtime import start_tensorflow

_PROBE = 4096  # training images of the larger of two trainings that are compared; the other has a quarter


def seconds_of(
    configs: list[TrainConfig], places: StudyPaths, tell: Callable[[str], None]
) -> dict[TrainConfig, float]:
    """Estimate the seconds of training, on one thread, of each config that is not done yet.

    The cost of an image is measured once for each data set and kind of model. Size of z, beta and seed are
    taken to change nothing.

    Args:
        configs: Of the study.
        places: Where its data and runs are.
        tell: Called with a line for each measurement.
    """
    start_tensorflow(1)
    costs: dict[TrainConfig, tuple[float, float]] = {}
    estimates, loaded, there = {}, {}, finished_runs(places.models_dir)
    for config in configs:
        images = config.dataset, config.image_size
        if images not in loaded:
            try:
                loaded[images] = places.load(*images)
            except InputError as error:  # kept, as another attempt may wait for the network
                loaded[images] = error
        data = loaded[images]
        if isinstance(data, InputError):
            if config in there:  # computed where its images were
                continue
            raise data
        if places.run_of(config, data).is_done:
            continue
        data = data.subset(n_train=config.n_train)
        kind = dataclasses.replace(config, latent_dim=16, beta=1.0, seed=0, epochs=1, n_train=None)
        if kind not in costs:
            tell(f"measuring {config.dataset}, {config.likelihood}, prior {config.prior}")
            costs[kind] = _cost(kind, data)
        start, image = costs[kind]
        validation = image * len(data.x_val) / 3  # without the backward pass
        estimates[config] = start + config.epochs * (image * len(data.x_train) + validation)
    return estimates


def _cost(kind: TrainConfig, data: ImageDataset) -> tuple[float, float]:
    """Return the seconds that a start takes, and those of a training image."""
    from vae_lib.training.trainer import train

    many = min(_PROBE, len(data.x_train))
    few, seconds = min(max(many // 4, kind.batch_size), many), []
    for n in (few, many):
        part = data.subset(n_train=n, n_val=256, n_test=256)
        with tempfile.TemporaryDirectory() as folder:
            seconds.append(train(kind, part, models_dir=folder, verbose=0).record["seconds"])
    if few == many:  # too few images to tell the start from the training
        return seconds[1], 0.0
    image = max(seconds[1] - seconds[0], 1e-3) / (many - few)
    return max(seconds[0] - image * few, 0.0), image


def as_text(configs: list[TrainConfig], seconds: dict[TrainConfig, float], jobs: int) -> str:
    """Return what is left to do, by data set, and how long so many workers take for it."""
    lines = []
    for name in dict.fromkeys(config.dataset for config in configs):
        cells = [config for config in configs if config.dataset == name]
        left = [seconds[config] for config in cells if config in seconds]
        lines.append(f"{name}: {len(left)} of {len(cells)} runs left, {sum(left) / 3600:.2f} core-hours")
    hours = sum(seconds.values()) / 3600
    lines.append(
        f"training: {hours:.2f} core-hours, about {hours / jobs:.2f} h on {jobs} workers; scoring is extra"
    )
    return "\n".join(lines)
