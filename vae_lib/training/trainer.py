"""train(config) -> Run: what must hold before a run begins, and what it leaves when it ends."""

import logging
import math
import platform
import shutil
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from vae_lib.config import RESULTS_VERSION, TrainConfig, annealed_beta
from vae_lib.data.dataset import ImageDataset
from vae_lib.data.loading import load_dataset
from vae_lib.training.checkpoint import Checkpoint
from vae_lib.training.run import Run, check_run_name, lock_run, make_vae, reset_run
from vae_lib.training.scores import evaluate
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import atomic_write, sha256_of, write_json
from vae_lib.utils.runtime import processor, thread_count
from vae_lib.utils.signals import StopRequest, stop_requests


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
    directory = Path(models_dir) / check_run_name(name)
    run = Run(directory)
    with lock_run(directory):
        if fresh or not (directory / "config.json").exists():  # what lies there without one is not this run's
            reset_run(directory)
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


VALIDATION_NOISE = 2**31  # every epoch is validated with the same noise: Keras takes it for that of step 2

VALIDATION_BATCH = 500

CHECKPOINT_STEPS = 2000  # epochs longer than this are saved on the way too

WARMUP_STEPS = 300  # of the learning rate, or a tenth of a shorter run

BETA_2 = 0.98  # of Adam: a shorter memory than its own 0.999 suits runs of a few epochs

CLIP_NORM = 1000.0  # of the gradient of nats per image: binds in the first steps only

_logger = logging.getLogger(__name__)


class _NotFiniteError(ArithmeticError):
    """The loss or a weight is NaN or infinite."""


class TrainingLoop:
    """One run under way: the model, the optimizer, and what a checkpoint must hold of them.

    Args:
        run: Where it is written; `config.json` is there already.
        config: What to train.
        data: The images.
        verbose: 1 shows Keras' progress bar, 2 a line per epoch, 0 nothing.
    """

    def __init__(self, run: Run, config: TrainConfig, data: ImageDataset, verbose: int):
        self.run, self.config, self.data, self.verbose = run, config, data, verbose
        self.folder = run.directory / "checkpoint"
        self.vae = self._make_vae()
        self.steps_per_epoch = math.ceil(len(data.x_train) / config.batch_size)
        self.total_steps = self.steps_per_epoch * config.epochs
        optimizer = keras.optimizers.Adam(
            self._schedule(),
            beta_2=BETA_2,
            weight_decay=config.weight_decay or None,
            global_clipnorm=CLIP_NORM,
        )
        optimizer.build(self.vae.trainable_variables)
        self.vae.compile(optimizer=optimizer, jit_compile=False)  # XLA halves the speed on a CPU
        # A graph for each batch size. A shared one of unknown size would be optimised otherwise, and which
        # sizes share it depends on the batch that a process happens to begin with: last bits would differ.
        self.train_step = tf.function(self.vae.train_step, reduce_retracing=False, jit_compile=False)
        self.test_step = tf.function(self.vae.test_step, reduce_retracing=False, jit_compile=False)
        self.step, self.seconds, self.threads, self.history = 0, 0.0, [], []
        self.best_loss = math.inf
        self.best = [variable.numpy() for variable in self.vae.trainable_variables]

    def _make_vae(self):
        return make_vae(self.config, self.data.image_shape, len(self.data.class_names))

    def _schedule(self) -> keras.optimizers.schedules.LearningRateSchedule:
        """Rise over the warm-up, then fall to zero along a cosine."""
        warmup = min(WARMUP_STEPS, self.total_steps // 10)
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=self.config.learning_rate / 10,
            warmup_target=self.config.learning_rate,
            warmup_steps=warmup,
            decay_steps=self.total_steps - warmup,
        )

    def run_to_end(self) -> None:
        """Train from the latest checkpoint to the last epoch, then evaluate and write the results.

        A run whose loss is no longer finite is marked as diverged, and keeps its checkpoints.
        """
        self._restore()
        self.threads.append(thread_count())
        try:
            with stop_requests() as stop:
                while self.step < self.total_steps:
                    self._run_epoch(stop)
        except _NotFiniteError:
            epoch = min(self.step // self.steps_per_epoch + 1, self.config.epochs)
            self._write_record()
            write_json(self.run.directory / "metrics.json", {"status": "diverged", "epoch": epoch})
            return
        self._finish()

    def _run_epoch(self, stop: StopRequest) -> None:
        """Train to the end of the epoch, validate, and save a checkpoint."""
        epoch, start = divmod(self.step, self.steps_per_epoch)
        order = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.data.x_train))
        bar = self._progress_bar(epoch)
        began = time.perf_counter()
        self.vae.reseed(self.config.seed, self.step)
        for i in range(start, self.steps_per_epoch):
            rows = order[i * self.config.batch_size : (i + 1) * self.config.batch_size]
            self._set_beta()
            values = _finite(self.train_step(self._batch("train", rows)))
            self.step += 1
            bar.update(i + 1, values.items(), finalize=False)
            if i + 1 < self.steps_per_epoch and (stop.signal or self.step % CHECKPOINT_STEPS == 0):
                began = self._save(began)
                if stop.signal:
                    stop.leave()
        validation = self._close_epoch(epoch, values)
        bar.update(self.steps_per_epoch, [*values.items(), ("val_loss", validation["loss"])], finalize=True)
        self._save(began)
        if stop.signal:
            stop.leave()

    def _close_epoch(self, epoch: int, values: dict[str, float]) -> dict[str, float]:
        """Validate, add a row to the history, and keep the best weights; return the validation's means."""
        beta = float(self.vae.beta)
        validation = self._validate()
        self.history.append(
            {
                "epoch": epoch + 1,
                **values,
                **{f"val_{name}": value for name, value in validation.items()},
                "learning_rate": float(self.vae.optimizer.learning_rate),
                "beta": beta,
            }
        )
        if validation["loss"] < self.best_loss:
            self.best_loss = validation["loss"]
            self.best = [variable.numpy() for variable in self.vae.trainable_variables]
        self.vae.reset_metrics()
        return validation

    def _validate(self) -> dict[str, float]:
        """Return the means on the validation images, at the beta that is aimed for."""
        self.vae.reset_metrics()
        self.vae.beta.assign(self.config.beta)
        self.vae.reseed(self.config.seed, VALIDATION_NOISE)
        for i in range(0, len(self.data.x_val), VALIDATION_BATCH):
            logs = self.test_step(self._batch("val", slice(i, i + VALIDATION_BATCH)))
        return _finite(logs)

    def _batch(self, part: str, rows) -> tuple[np.ndarray, ...]:
        """Gather images, with labels if the model takes them, as `fit` would hand them to a step."""
        x, y = self.data.images_and_labels(part)
        return (x[rows], y[rows]) if self.config.conditional else (x[rows],)

    def _set_beta(self) -> None:
        if self.config.annealing != "none":
            steps = self.config.anneal_epochs * self.steps_per_epoch
            beta = annealed_beta(self.step, self.config.beta, self.config.annealing, steps)
            self.vae.beta.assign(beta)

    def _progress_bar(self, epoch: int) -> keras.utils.Progbar:
        if self.verbose:
            print(f"Epoch {epoch + 1}/{self.config.epochs}")
        names = [*(tracker.name for tracker in self.vae.metrics), "val_loss"]
        return keras.utils.Progbar(self.steps_per_epoch, verbose=self.verbose, stateful_metrics=names)

    def _variables(self) -> dict[str, list]:
        return {
            "weights": self.vae.trainable_variables,
            "optimizer": self.vae.optimizer.variables,
            "trackers": [variable for tracker in self.vae.metrics for variable in tracker.variables],
        }

    def _save(self, began: float) -> float:
        """Save a checkpoint; count the time since `began` as training, and return the time now.

        Raises:
            _NotFiniteError: If the last step broke the weights: the checkpoints of before are kept.
        """
        self.seconds += time.perf_counter() - began
        arrays = {
            f"{group}/{i}": variable.numpy()
            for group, variables in self._variables().items()
            for i, variable in enumerate(variables)
        }
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise _NotFiniteError
        arrays |= {f"best/{i}": array for i, array in enumerate(self.best)}
        state = {
            "history": self.history,
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "seconds": self.seconds,
            "threads": self.threads,
        }
        Checkpoint(self.step, state, arrays).save(self.folder)
        return time.perf_counter()

    def _restore(self) -> None:
        checkpoint = Checkpoint.load_latest(self.folder)
        if checkpoint is None:
            return
        for group, variables in self._variables().items():
            for i, variable in enumerate(variables):
                variable.assign(checkpoint.arrays[f"{group}/{i}"])
        self.best = [checkpoint.arrays[f"best/{i}"] for i in range(len(self.best))]
        self.step, state = checkpoint.step, checkpoint.state
        self.history, self.seconds, self.threads = state["history"], state["seconds"], state["threads"]
        self.best_loss = math.inf if state["best_loss"] is None else state["best_loss"]
        if self.threads and self.threads[-1] != thread_count():
            _logger.warning(
                "resuming on %d threads a run that was begun on %d: its last bits will differ",
                thread_count(),
                self.threads[-1],
            )
        if self.verbose:
            print(f"Resuming {self.run.name} after step {self.step} of {self.total_steps}")

    def _finish(self) -> None:
        """Write history, model and record, and last the scores."""
        directory = self.run.directory
        vae = self._make_vae()  # without the optimizer's state
        for variable, value in zip(vae.trainable_variables, self.best, strict=True):
            variable.assign(value)
        history = pd.DataFrame(self.history)
        atomic_write(directory / "history.csv", lambda path: history.to_csv(path, index=False))
        atomic_write(directory / "model.keras", vae.save)
        self._write_record()
        scores = {"best_epoch": int(history["val_loss"].idxmin()) + 1, "parameters": vae.count_params()}
        for part in ("val", "test"):
            x, y = self.data.images_and_labels(part)
            for name, score in evaluate(vae, x, y if self.config.conditional else None).items():
                scores[f"{part}_{name}"] = score
        write_json(directory / "metrics.json", {"status": "finished", **scores})

    def _write_record(self) -> None:
        record = {
            "seconds": round(self.seconds, 2),
            "images_per_second": round(self.step * self.config.batch_size / max(self.seconds, 1e-9), 1),
            "threads": self.threads,
            "processor": processor(),
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        }
        if (self.run.directory / "model.keras").exists():
            record["weights_sha256"] = sha256_of(self.run.directory / "model.keras")
        write_json(self.run.directory / "record.json", record)


def _finite(logs: dict) -> dict[str, float]:
    """Return the means as floats.

    Raises:
        _NotFiniteError: If the loss is NaN or infinite.
    """
    values = {name: float(value) for name, value in logs.items()}
    if not math.isfinite(values["loss"]):
        raise _NotFiniteError
    return values
