"""Run: what one training leaves in `models/<name>/`, and how it is found and loaded again."""

import contextlib
import inspect
import json
import math
import os
import platform
import re
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from vae_lib.config import TrainConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.data.loading import load_dataset
from vae_lib.models.weights import load_weights
from vae_lib.training.checkpoint import latest_step
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import sha256_of, write_json

if TYPE_CHECKING:
    from vae_lib.training.mixture import KeptMixture

_OF_THE_DATA = {"source", "fingerprint", "image_shape", "n_classes", "n_train"}  # what is read of it


@dataclass(frozen=True)
class Run:
    """A run directory.

    `config.json` holds the config and describes the data, `history.csv` has a row per epoch, `model.keras`
    the weights that were best on validation, `record.json` machine and wall time, and `metrics.json` the
    scores: it is written last, so its presence means that the run is done.
    """

    directory: Path

    @property
    def name(self) -> str:
        """The directory's name, also where the path is `.` or ends in `..`."""
        return Path(os.path.abspath(self.directory)).name

    @property
    def is_done(self) -> bool:
        """Whether the run has ended: finished, or diverged."""
        return (self.directory / "metrics.json").is_file()

    @property
    def state(self) -> str:
        """`finished`, `diverged`, `unfinished`, `being trained`, or `damaged`: a file cannot be used."""
        if _is_locked(self.directory):
            return "being trained"
        try:
            weights, epochs = self.directory / "model.keras", self.epochs_done
            if not self.is_done:
                return "unfinished"
            sha256 = self.record.get("weights_sha256") if epochs and weights.exists() else None
            return "damaged" if sha256 and sha256 != sha256_of(weights) else self.metrics["status"]
        except InputError:
            return "damaged"

    @property
    def epochs_done(self) -> int:
        """Epochs in the history of a finished run, or up to the last checkpoint of any other."""
        if self.is_done and self.metrics["status"] == "finished":
            return min(self.config.epochs, len(self.history))
        step = latest_step(self.directory / "checkpoint")
        return step // math.ceil(self.data["n_train"] / self.config.batch_size)

    @property
    def bytes(self) -> int:
        """Size of all files in the directory."""
        return sum(path.stat().st_size for path in self.directory.rglob("*") if path.is_file())

    @property
    def changed(self) -> float:
        """When the run ended or, if it has not, began: seconds since 1970."""
        return (self.directory / ("metrics.json" if self.is_done else "config.json")).stat().st_mtime

    @property
    def has_mixture(self) -> bool:
        """Whether the mixture prior is fitted already."""
        return (self.directory / "mixture.npz").is_file()

    @property
    def has_reference(self) -> bool:
        """Whether the scores of its own test images are kept, for new images to be compared with."""
        return (self.directory / "reference.npz").is_file()

    @cached_property
    def description(self) -> dict:
        """`config.json`: the config, the data set's name, source, fingerprint and sizes."""
        description = self._read_json("config.json", "config", "data")
        config, data = description["config"], description["data"]
        if not (isinstance(config, dict) and isinstance(data, dict) and data.keys() >= _OF_THE_DATA):
            path = self.directory / "config.json"
            raise InputError(f"{path} is damaged (values are missing): train with --fresh to start again")
        return description

    @property
    def config(self) -> TrainConfig:
        """What was trained; runs from before there was a choice modelled channels independently."""
        color = self.data["image_shape"][-1] > 1
        return TrainConfig.from_dict(
            ({"channels": "independent"} if color else {}) | self.description["config"]
        )

    @property
    def data(self) -> dict:
        """The data set: name, source, fingerprint, image_shape, sizes."""
        return self.description["data"]

    @cached_property
    def metrics(self) -> dict:
        """The scores; nats per image unless the name says otherwise."""
        return self._read_json("metrics.json", "status")

    @cached_property
    def record(self) -> dict:
        """Machine, versions and wall time: what may differ between two equal runs."""
        return self._read_json("record.json")

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row per epoch: epoch, loss, distortion, rate, the same on validation, learning_rate, beta."""
        path = self.directory / "history.csv"
        try:
            history = pd.read_csv(path)
            if "val_loss" not in history:
                raise ValueError("no column val_loss")
            return history
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}): train with --fresh to start again") from None

    def model(self):
        """Build the VAE from `config.json` and load its weights from `model.keras`.

        Only weights are read from the file; code or layers that it may name are ignored.

        Raises:
            InputError: If the file is missing, empty, damaged, of another model, or not the one written when
                the run ended (by its SHA-256 in `record.json`).
        """
        vae = make_vae(self.config, self.data["image_shape"], self.data["n_classes"])
        load_weights(vae, self.directory / "model.keras", self.record.get("weights_sha256"))
        return vae

    def mixture(self, data: ImageDataset | None = None) -> "KeptMixture":
        """Return the mixture prior of the run's codes, fitted at the first call and kept in `mixture.npz`.

        Args:
            data: The images it was trained on; None loads them if the mixture is not fitted yet.

        Raises:
            InputError: If the images are needed and unavailable, or are others; or if the file is damaged.
        """
        from vae_lib.training.mixture import KeptMixture, keep_mixture

        path = self.directory / "mixture.npz"
        if path.exists():
            return KeptMixture.load(path, self.config.latent_dim)
        config = self.config
        data = load_dataset(config.dataset, image_size=config.image_size) if data is None else data
        kept = keep_mixture(self.model(), self.own_images(data))
        kept.save(path)
        return kept

    def own_images(self, data: ImageDataset, option: str = "--data") -> ImageDataset:
        """Return what the run was trained on of a data set that may hold more training images.

        Raises:
            InputError: If these are other images; `option` is the one that says where the run's are.
        """
        data = data.subset(n_train=self.config.n_train)
        if data.fingerprint() != self.data["fingerprint"]:
            raise InputError(
                f"the images of {self.config.dataset!r} ({data.source}) are not those that {self.name} was "
                f"trained on ({self.data['source']}): restore those, say where they are with {option} PATH, "
                "or train again"
            )
        return data

    def sample(
        self,
        n: int,
        y: np.ndarray | int | None = None,
        prior: str | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        draw: bool = False,
        data: ImageDataset | None = None,
    ) -> np.ndarray:
        """Return n uint8 images generated by the run's model.

        Args:
            n: How many.
            y: Their classes, (n,), or one for all: for a conditional model, or from a mixture of each class.
            prior: Where z comes from: `model`, the prior of the training, or `mixture`, fitted to the codes
                afterwards; None takes the one whose draws are nearer to validation images.
            seed: Of all noise.
            temperature: Scale of the noise of z.
            draw: Whether pixels are drawn from p(x|z), in place of its mean.
            data: The images it was trained on, as of `mixture`.

        Raises:
            InputError: If the number, the classes or the prior are not allowed, or as `mixture` does.
        """
        from vae_lib.training.mixture import generate

        kept = None if prior == "model" else self.mixture(data)
        return generate(self.model(), n, y, kept, prior, seed, temperature, draw)

    def _read_json(self, name: str, *keys: str) -> dict:
        path = self.directory / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict) or not content.keys() >= set(keys):
                raise ValueError(f"no {' and no '.join(keys)}" if keys else "no JSON object")
            return content
        except FileNotFoundError:
            raise InputError(
                f"{path} is missing: the run is unfinished (train it again to resume), or this is no run"
            ) from None
        except ValueError as error:
            raise InputError(f"{path} is damaged ({error}): train with --fresh to start again") from None


def load_run(directory: Path | str) -> Run:
    """Return the finished run in a directory.

    Raises:
        InputError: If there is no such directory, or its run is unfinished or has diverged.
    """
    run = Run(Path(directory))
    if not os.path.isdir(run.directory):
        raise InputError(f"there is no run directory {str(directory)!r}: `train` prints the one it makes")
    if run.metrics["status"] != "finished":
        raise InputError(f"run {run.name} is marked {run.metrics['status']!r} and has no scores")
    return run


def list_runs(models_dir: Path | str) -> list[Run]:
    """Return the runs that lie in a folder, whatever their state, the oldest first.

    Raises:
        InputError: If there is no such folder.
    """
    if not Path(models_dir).is_dir():
        raise InputError(f"there is no folder {str(models_dir)!r}: `train` makes it; or choose --models_dir")
    runs = [Run(path) for path in sorted(Path(models_dir).iterdir()) if _holds_run(path)]
    return sorted(runs, key=lambda run: run.changed)


def find_run(name: str, models_dir: Path | str) -> Run:
    """Return the run of that name, or path, that lies in a folder, whatever its state.

    Raises:
        InputError: If there is none, or it lies elsewhere.
    """
    folder = Path(os.path.abspath(models_dir))
    for path in map(Path, (os.path.abspath(folder / name), os.path.abspath(name))):
        if path.parent == folder and _holds_run(path):
            return Run(Path(models_dir) / path.name)
    raise InputError(
        f"there is no run {str(name)!r} in {str(models_dir)!r}: `runs` lists those that there are"
    )


def remove_run(run: Run) -> list[str]:
    """Remove a run; its directory stays if it holds files of other kinds, whose names are returned.

    Raises:
        InputError: If the run is being trained, or its directory is a link or cannot be written.
    """
    if run.directory.is_symlink():
        raise InputError(
            f"{run.directory} is a link to {run.directory.resolve()}: remove the link, or that run"
        )
    with lock_run(run.directory):
        reset_run(run.directory)
    (run.directory / "run.lock").unlink(missing_ok=True)
    others = sorted(path.name for path in run.directory.iterdir())
    if not others:
        run.directory.rmdir()
    return others


def _holds_run(directory: Path) -> bool:
    """Whether `train` made the directory; a classifier has no data set's name in its config."""
    if not os.path.isfile(directory / "config.json"):
        return False
    with contextlib.suppress(InputError):
        return "dataset" in Run(directory).description["config"]
    return (directory / "run.lock").exists()


def _is_locked(directory: Path) -> bool:
    if not (directory / "owner.json").exists():  # it is there while the lock is held, and after a kill
        return False
    try:
        with FileLock(directory / "run.lock", timeout=0):
            return False
    except (Timeout, OSError):
        return True


def make_vae(config: TrainConfig, image_shape: tuple[int, int, int], num_classes: int = 0):
    """Return the untrained VAE or HierarchicalVAE of a config; the same seed gives the same weights.

    Args:
        config: What to build; the model takes those of its fields that are arguments of its constructor.
        image_shape: (height, width, channels) of the data.
        num_classes: Of the data; ignored unless the config is conditional.
    """
    from vae_lib.models.hierarchical import HierarchicalVAE
    from vae_lib.models.vae import VAE

    kind = HierarchicalVAE if config.network == "hierarchical" else VAE
    arguments = inspect.signature(VAE.__init__).parameters
    shared = {name: value for name, value in config.to_dict().items() if name in arguments}
    return kind(tuple(image_shape), num_classes=num_classes if config.conditional else 0, **shared)


@contextlib.contextmanager
def lock_run(directory: Path):
    """Lock a run directory, so that only one process writes it.

    The operating system holds the lock and drops it when the process ends, so a killed process blocks nobody.

    Raises:
        InputError: If another process holds the lock (naming it), or the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / "run.lock")
        lock.acquire(timeout=0)
    except Timeout:
        message = f"run {directory.name} is being trained by {_holder(directory)}: wait for it"
        raise InputError(message) from None
    except OSError as error:
        raise InputError(f"cannot write to {directory} ({error.strerror}): choose --models_dir") from None
    try:
        for unfinished in directory.glob(".*.[0-9]*.*"):  # a temporary file of a process that was killed
            unfinished.unlink()
        write_json(directory / "owner.json", {"process": os.getpid(), "host": platform.node()})
        yield
    finally:
        (directory / "owner.json").unlink(missing_ok=True)
        lock.release()


def _holder(directory: Path) -> str:
    for _ in range(20):  # it writes this file just after it has taken the lock
        with contextlib.suppress(OSError, ValueError, KeyError):
            owner = json.loads((directory / "owner.json").read_text(encoding="utf-8"))
            return f"process {owner['process']} on {owner['host']}"
        time.sleep(0.05)
    return "another process"


def check_run_name(name: str) -> str:
    """Return the name of a run directory.

    Raises:
        InputError: If it leads out of the models folder, or is not a plain file name.
    """
    if not re.fullmatch(r"[\w][\w .,=+-]{0,119}", name) or name != name.strip():
        raise InputError(
            f"name must be letters, digits, '-', '_', '.' and at most 120 of them; received {name!r}"
        )
    return name


def reset_run(directory: Path) -> None:
    """Remove what a run left in its directory, so that it starts again."""
    (directory / "metrics.json").unlink(missing_ok=True)
    shutil.rmtree(directory / "checkpoint", ignore_errors=True)
    derived = ("mixture.npz", "reference.npz", "scorecard.json")
    names = (*derived, "history.csv", "record.json", "model.keras", "config.json")
    for name in names:
        (directory / name).unlink(missing_ok=True)
