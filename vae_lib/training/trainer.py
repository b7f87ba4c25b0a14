"""train(config) -> Run: the checks before a run begins, the training loop, and what the run leaves."""

import contextlib
import logging
import math
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from vae_lib.config import RESULTS_VERSION, TrainConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.data.loading import load_dataset
from vae_lib.training.checkpoint import Checkpoint
from vae_lib.training.run import Run, check_run_name, list_runs, lock_run, make_vae, reset_run
from vae_lib.training.scores import evaluate
from vae_lib.utils.errors import DivergenceError, InputError
from vae_lib.utils.files import atomic_write, sha256_of, write_json
from vae_lib.utils.runtime import processor, thread_count
from vae_lib.utils.signals import StopRequest, stop_requests

VALIDATION_NOISE = 2**31  # the step whose noise every validation uses: training never gets that far
CHECKPOINT_STEPS = 2000  # longer epochs are saved in between too
READ_STEPS = 50  # from one reading of the loss to the next: each waits for the device, as a step does not
WARMUP_STEPS = 300  # of the learning rate, or a tenth of a shorter run
BETA_2 = 0.98  # of Adam: a shorter memory than Keras' 0.999 suits runs of a few epochs
CLIP_NORM = 1000.0  # of the gradient of nats per image: takes effect in the first steps only

_logger = logging.getLogger(__name__)


class _NotFiniteError(ArithmeticError):
    """The loss or a weight is NaN or infinite."""


def train(
    config: TrainConfig,
    data: ImageDataset | None = None,
    *,
    data_dir: Path | str = "data",
    models_dir: Path | str = "models",
    name: str | None = None,
    fresh: bool = False,
    verbose: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Run:
    """Train a VAE, or resume its training, or return it at once if it is done.

    Callbacks are called as `fit` calls them; in a resumed run, epochs count from the start of the run. They
    may sample or evaluate `model`, the VAE in training, without changing its training. If one sets
    `model.stop_training`, the run ends after that epoch and is finished, with a shorter history. If one
    raises, the same call resumes the run from its last checkpoint. The derived name of a run does not
    depend on callbacks: give a `name` if they change the result.

    Args:
        config: What to train.
        data: The images; None loads `config.dataset`.
        data_dir: Where `load_dataset` looks first.
        models_dir: Where the run directory is made.
        name: Of the run directory; None derives it from config and data.
        fresh: Discard an earlier run of that name.
        verbose: 1 shows Keras' progress bar, 2 a line per epoch, both after a line on the data; 0 nothing.
        callbacks: Keras callbacks.

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
    data = data.subset(n_train=config.n_train)
    check_fit(config, data)
    name = config.run_name(data.fingerprint()) if name is None else name
    directory = Path(models_dir) / check_run_name(name)
    run = Run(directory)
    begins = fresh or not (directory / "config.json").exists()  # other files there are of another run
    # The model refuses what does not fit these images: that must be before anything is written or removed.
    loop = None if run.is_done and not begins else TrainingLoop(run, config, data, verbose, callbacks)
    with lock_run(directory):
        if begins:
            reset_run(directory)
        _claim(run, config, data)
        if loop and not run.is_done:
            if verbose:
                print(f"{data.source}: {data.summary()}", flush=True)
                if not (directory / "checkpoint").exists():
                    _say_what_is_not_continued(run)
            loop.run_to_end()
        if run.metrics["status"] == "finished":  # just now, or by a process that was killed before this line
            shutil.rmtree(directory / "checkpoint", ignore_errors=True)
    if run.metrics["status"] == "diverged":
        decays = config.learning_rate < 1 < config.learning_rate * config.weight_decay
        option = "weight_decay" if decays else "learning_rate"
        raise DivergenceError(
            f"run {run.name} diverged in epoch {run.metrics['epoch']}: lower {option} (now "
            f"{getattr(config, option):g}) and train again; its last finite checkpoint is kept"
        )
    return run


def _say_what_is_not_continued(run: Run) -> None:
    """Print the name of a run that differs from this one in having fewer epochs, if there is one."""
    for other in list_runs(run.directory.parent):
        with contextlib.suppress(InputError):
            epochs = other.config.epochs
            same = other.data["fingerprint"] == run.data["fingerprint"]
            if same and epochs < run.config.epochs and replace(run.config, epochs=epochs) == other.config:
                print(
                    f"{other.name} differs in its epochs alone ({epochs}), over which its learning rate "
                    f"falls to zero: it cannot go on, so {run.name} starts from the beginning"
                )


def check_fit(config: TrainConfig, data: ImageDataset) -> None:
    """Raise InputError if these images lack the labels that the config needs, or are too few for it."""
    if config.conditional and data.y_train is None:
        raise InputError(f"conditional needs labels, and {data.source} has none: put images in class folders")
    if config.conditional and not data.class_names:
        raise InputError(f"conditional needs names of the classes, and {data.source} has none: class_names")
    if not len(data.x_val):
        raise InputError(f"{data.name} has no validation images: from_arrays holds some out of x_train")
    n = min(len(data.x_train), config.n_train or len(data.x_train))
    if config.batch_size > n:
        raise InputError(
            f"batch_size must not exceed the {n} training images of {data.name}; "
            f"received {config.batch_size}: choose --batch_size {min(16, n)}, say"
        )


def _claim(run: Run, config: TrainConfig, data: ImageDataset) -> None:
    """Write `config.json`, or raise InputError if it is there with another config or other data."""
    if not (run.directory / "config.json").exists():
        content = {"results_version": RESULTS_VERSION, "config": config.to_dict(), "data": data.describe()}
        write_json(run.directory / "config.json", content)
        return
    version = run.description.get("results_version", 2)  # the last that was not written down
    differences = [run.config.difference(config)]
    if version != RESULTS_VERSION:
        differences.append(f"results version: {version} -> {RESULTS_VERSION}")
    if run.data["fingerprint"] != data.fingerprint():
        differences.append(f"data: {run.data['source']} -> {data.source}")
    if any(differences):
        raise InputError(
            f"run {run.name} was started with another config ({', '.join(filter(None, differences))}): "
            "use its config, another name, or --fresh to discard it"
        )


class TrainingLoop:
    """A run in training: the model, the optimizer, and what a checkpoint holds of them.

    The arguments are those of `train`, and the run, whose directory holds a `config.json` when it begins.
    """

    def __init__(self, run: Run, config: TrainConfig, data: ImageDataset, verbose: int = 0, callbacks=()):
        self.run, self.config, self.data, self.verbose = run, config, data, verbose
        self.folder = run.directory / "checkpoint"
        self.vae = self._make_vae()
        self.steps_per_epoch = math.ceil(len(data.x_train) / config.batch_size)
        self.total_steps = self.steps_per_epoch * config.epochs
        self.vae.compile(optimizer=self._make_optimizer(), jit_compile=False)  # XLA halves the speed on a CPU
        # A graph for each batch size. A shared one of unknown size would be optimised otherwise, and which
        # sizes share it depends on the batch that a process happens to start with: last bits would differ.
        self.train_step = tf.function(self.vae.train_step, reduce_retracing=False, jit_compile=False)
        self.test_step = tf.function(self.vae.test_step, reduce_retracing=False, jit_compile=False)
        self.has_callbacks = bool(callbacks)
        callbacks = [keras.callbacks.ProgbarLogger(), *callbacks]
        shown = {"verbose": verbose, "epochs": config.epochs, "steps": self.steps_per_epoch}
        self.callbacks = keras.callbacks.CallbackList(callbacks, model=self.vae, **shown)
        self.step, self.threads, self.history, self.logs = 0, [], [], {}
        self.seconds, self.began = 0.0, 0.0  # seconds of training up to the last checkpoint; the time of that
        self.best = self._weights()

    def _make_vae(self):
        return make_vae(self.config, self.data.image_shape, len(self.data.class_names))

    def _make_optimizer(self) -> keras.optimizers.Adam:
        """Return Adam; its learning rate rises over a warm-up, then falls to zero along a cosine."""
        peak, warmup = self.config.learning_rate, min(WARMUP_STEPS, self.total_steps // 10)
        schedule = keras.optimizers.schedules.CosineDecay(
            peak / 10, self.total_steps - warmup, warmup_target=peak, warmup_steps=warmup
        )
        optimizer = keras.optimizers.Adam(
            schedule, beta_2=BETA_2, weight_decay=self.config.weight_decay or None, global_clipnorm=CLIP_NORM,
            use_ema=self.config.ema > 0, ema_momentum=self.config.ema or 0.99,
        )  # fmt: skip
        optimizer.build(self.vae.trainable_variables)
        return optimizer

    def run_to_end(self) -> None:
        """Train from the latest checkpoint to the last epoch, then evaluate and write the results.

        A run whose loss is no longer finite is marked as diverged, and keeps its checkpoints.
        """
        self._restore()
        self.threads.append(thread_count())
        self.callbacks.on_train_begin()
        try:
            with stop_requests() as stop:
                while self.step < self.total_steps and not self.vae.stop_training:
                    self._run_epoch(stop)
        except _NotFiniteError:
            epoch = math.ceil(self.step / self.steps_per_epoch)
            self._write_record()
            write_json(self.run.directory / "metrics.json", {"status": "diverged", "epoch": epoch})
            return
        self.callbacks.on_train_end(self.logs)
        self._finish()

    def _run_epoch(self, stop: StopRequest) -> None:
        """Train to the end of the epoch, validate, and save a checkpoint."""
        epoch, start = divmod(self.step, self.steps_per_epoch)
        self.began = time.perf_counter()
        batches = self._batches(epoch, start)
        batch = next(batches)
        self.callbacks.on_epoch_begin(epoch)
        for i in range(start, self.steps_per_epoch):
            at_end = i + 1 == self.steps_per_epoch
            self.callbacks.on_train_batch_begin(i)
            if self.config.annealing != "none":
                self.vae.beta.assign(self.config.beta_at(self.step, self.steps_per_epoch))
            if i == start or self.has_callbacks:  # callbacks may have drawn from the same noise
                self.vae.reseed(self.config.seed, self.step)
            logs = self.train_step(batch)
            self.step += 1
            batch = next(batches, None)  # gathered while a GPU computes the step
            if at_end or self.has_callbacks or (i - start) % READ_STEPS == 0:  # else the bar shows the last
                values = _finite(logs)
            self.callbacks.on_train_batch_end(i, values)
            if at_end:
                self._close_epoch(epoch, values)
            if at_end or stop.signal or self.step % CHECKPOINT_STEPS == 0:
                self._save(at_end)
                if stop.signal:
                    stop.leave()

    def _close_epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Validate, add a row to the history, and keep the weights if they are the best so far."""
        settings = {"learning_rate": float(self.vae.optimizer.learning_rate), "beta": float(self.vae.beta)}
        best_loss = min((row["val_loss"] for row in self.history), default=math.inf)
        scores, weights = self._validate(), self._weights()
        if self.config.ema:
            averaged, average = self._validate_average()
            settings["averaged"] = averaged["loss"] < scores["loss"]
            if settings["averaged"]:
                scores, weights = averaged, average
        self.logs = values | {f"val_{name}": value for name, value in scores.items()}
        self.history.append({"epoch": epoch + 1, **self.logs, **settings})
        if self.logs["val_loss"] < best_loss:
            self.best = weights
        self.callbacks.on_epoch_end(epoch, self.logs)
        self.vae.reset_metrics()

    def _weights(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self.vae.trainable_variables]

    def _validate_average(self) -> tuple[dict[str, float], list[np.ndarray]]:
        """Return the means on the validation images with averaged weights, and these weights."""
        variables, own = self.vae.trainable_variables, self._weights()
        self.vae.optimizer.finalize_variable_values(variables)
        scores, average = self._validate(), self._weights()
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)
        return scores, average

    def _validate(self) -> dict[str, float]:
        """Return the means on the validation images, at the final beta."""
        self.vae.reset_metrics()
        self.vae.beta.assign(self.config.beta)
        self.vae.reseed(self.config.seed, VALIDATION_NOISE)
        for i in range(0, len(self.data.x_val), self.vae.images_at_once):
            logs = self.test_step(self._batch("val", slice(i, i + self.vae.images_at_once)))
        return _finite(logs)

    def _batches(self, epoch: int, start: int):
        """Yield the training batches of an epoch, in its order, from batch `start` on."""
        order = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.data.x_train))
        for i in range(start, self.steps_per_epoch):
            yield self._batch("train", order[i * self.config.batch_size : (i + 1) * self.config.batch_size])

    def _batch(self, part: str, rows) -> tuple[np.ndarray, ...]:
        """Gather images, with labels if the model takes them, as `fit` would hand them to a step."""
        x, y = self.data.images_and_labels(part)
        return (x[rows], y[rows]) if self.config.conditional else (x[rows],)

    def _variables(self) -> dict[str, keras.Variable]:
        """Return the variables that a checkpoint holds, by name."""
        groups = {
            "weights": self.vae.trainable_variables,
            "optimizer": self.vae.optimizer.variables,
            "state": [v for v in self.vae.non_trainable_weights if v is not self.vae.beta],
            "trackers": [variable for tracker in self.vae.metrics for variable in tracker.variables],
        }
        return {f"{group}/{i}": v for group, variables in groups.items() for i, v in enumerate(variables)}

    def _save(self, at_end: bool) -> None:
        """Save a checkpoint, or raise _NotFiniteError if a weight or a mean of the loss is no longer finite.

        Args:
            at_end: Whether the epoch is complete: only then can a callback have stopped the run.
        """
        self.seconds += time.perf_counter() - self.began
        arrays = {name: variable.numpy() for name, variable in self._variables().items()}
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise _NotFiniteError
        arrays |= {f"best/{i}": array for i, array in enumerate(self.best)}
        state = {"history": self.history, "seconds": self.seconds, "threads": self.threads}
        state["stopped"] = at_end and bool(self.vae.stop_training)
        Checkpoint(self.step, state, arrays).save(self.folder)
        self.began = time.perf_counter()

    def _restore(self) -> None:
        checkpoint = Checkpoint.load_latest(self.folder)
        if checkpoint is None:
            return
        for name, variable in self._variables().items():
            variable.assign(checkpoint.arrays[name])
        self.best = [checkpoint.arrays[f"best/{i}"] for i in range(len(self.best))]
        self.step, state = checkpoint.step, checkpoint.state
        self.history, self.seconds, self.threads = state["history"], state["seconds"], state["threads"]
        self.vae.stop_training = state.get("stopped", False)
        now, before = thread_count(), self.threads[-1]
        if now != before:
            message = "resuming on %d threads a run that was started on %d: its last bits will differ"
            _logger.warning(message, now, before)
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
            scored = evaluate(vae, x, y if self.config.conditional else None) if len(x) else {}
            for name, score in scored.items():
                scores[f"{name}_{part}"] = score
        write_json(directory / "metrics.json", {"status": "finished", **scores})

    def _write_record(self) -> None:
        record = {
            "seconds": round(self.seconds, 2),
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
    """Return the means as floats, or raise _NotFiniteError if the loss is NaN or infinite."""
    values = {name: float(value) for name, value in logs.items()}
    if not math.isfinite(values["loss"]):
        raise _NotFiniteError
    return values
