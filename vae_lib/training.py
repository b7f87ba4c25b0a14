"""train(config) -> Run: what must hold before a run begins, and what it leaves when it ends."""

import shutil
from pathlib import Path

from vae_lib import runs
from vae_lib.atomic import write_json
from vae_lib.config import RESULTS_VERSION, TrainConfig
from vae_lib.data import ImageDataset, load_dataset
from vae_lib.errors import InputError
from vae_lib.loop import TrainingLoop
from vae_lib.runs import Run


class DivergenceError(RuntimeError):
    """The loss became NaN or infinite; the last finite checkpoint is kept."""


def train(
    config: TrainConfig,
    data: ImageDataset | None = None,
    *,
    data_dir: Path | str = "data",
    models_dir: Path | str = "models",
    name: str | None = None,
    fresh: bool = False,
    verbose: int = 1,
) -> Run:
    """Train a VAE, or resume it, or return it at once if it is done.

    Args:
        config: What to train.
        data: The images; None loads `config.dataset`.
        data_dir: Where `load_dataset` looks first.
        models_dir: Where the run directory is made.
        name: Of the run directory; None derives it from config and data.
        fresh: Discard what an earlier run of that name left.
        verbose: 1 shows Keras' progress bar, 2 a line per epoch, 0 nothing.

    Returns:
        The finished run; its weights are those that were best on validation.

    Raises:
        InputError: If config and data do not fit, the directory belongs to another config or process,
            or cannot be written.
        DivergenceError: If the loss became NaN or infinite.
        KeyboardInterrupt, Terminated: On Ctrl-C or SIGTERM, once a checkpoint has been written.
    """
    if data is None:
        data = load_dataset(config.dataset, data_dir, image_size=config.image_size)
    if config.n_train is not None and config.n_train < len(data.x_train):
        data = data.subset(n_train=config.n_train)
    _check_fit(config, data)
    name = config.run_name(data.fingerprint()) if name is None else name
    directory = Path(models_dir) / runs.checked_name(name)
    run = Run(directory)
    with runs.writing(directory):
        if fresh or not (directory / "config.json").exists():  # what lies there without one is not this run's
            runs.clear(directory)
        _claim(run, config, data)
        if not run.is_done:
            TrainingLoop(run, config, data, verbose).run_to_end()
        if run.metrics["status"] == "finished":  # by this process, or by one that was killed at this line
            shutil.rmtree(directory / "checkpoint", ignore_errors=True)
    if run.metrics["status"] == "diverged":
        raise DivergenceError(
            f"run {run.name} diverged in epoch {run.metrics['epoch']}: lower learning_rate (now "
            f"{config.learning_rate:g}) and train again; its last finite checkpoint is kept"
        )
    return run


def _check_fit(config: TrainConfig, data: ImageDataset) -> None:
    """Refuse a config that these images cannot serve.

    Raises:
        InputError: Naming the option.
    """
    if config.batch_size > len(data.x_train):
        raise InputError(
            f"batch_size must not exceed the {len(data.x_train)} training images of {data.name}; "
            f"received {config.batch_size}: choose --batch_size {min(16, len(data.x_train))}, say"
        )
    if config.conditional and data.y_train is None:
        raise InputError(f"conditional needs labels, and {data.source} has none: put images in class folders")


def _claim(run: Run, config: TrainConfig, data: ImageDataset) -> None:
    """Write `config.json`, or check that the one found there is of this config and this data.

    Raises:
        InputError: If it is not, with the difference.
    """
    if not (run.directory / "config.json").exists():
        content = {"results_version": RESULTS_VERSION, "config": config.to_dict(), "data": data.describe()}
        write_json(run.directory / "config.json", content)
        return
    difference = run.config.difference(config)
    version = run.description.get("results_version", 2)  # the last that was not written down
    if version != RESULTS_VERSION:
        difference = f"{difference}, results version: {version} -> {RESULTS_VERSION}".lstrip(", ")
    if run.data["fingerprint"] != data.fingerprint():
        difference = f"{difference}, data: {run.data['source']} -> {data.source}".lstrip(", ")
    if difference:
        raise InputError(
            f"run {run.name} was begun with another config ({difference}): "
            "take its config, another name, or --fresh to discard it"
        )
