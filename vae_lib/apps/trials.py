"""Trials: each trains a config at the default's cost, is scored on the way, and stopped if it is behind."""

import logging
import math
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import optuna
from optuna.trial import TrialState

from vae_lib.apps.search import RUNGS, Search, claim, describe, is_behind
from vae_lib.config import TrainConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.training.run import Run, remove_run
from vae_lib.training.scores import evaluate
from vae_lib.training.trainer import TrainingLoop, train
from vae_lib.utils.errors import DivergenceError, InputError

SLACK = 1.05  # a trial may take this many times the default's time: times are measured no better
ROUNDS, SECONDS = 10, 1.0  # of timing, at least
COSTLESS = ("learning_rate", "weight_decay", "beta")

_logger = logging.getLogger(__name__)


def run_trial(search: Search, n_trials: int) -> str | None:
    """Take up or begin a trial and bring it to its end; say what became of it, or None if all are done."""
    claimed = claim(search, n_trials)
    if claimed is None:
        return None
    trial, lock = claimed
    try:
        _bring_to_end(search, trial)
        return describe(search, next(t for t in trial.study.trials if t.number == trial.number))
    finally:
        lock.release()


def _bring_to_end(search: Search, trial: optuna.Trial) -> None:
    """Train a trial and tell the study its value, or why it has none.

    What is no fault of the config, such as a full disk or Ctrl-C, leaves it to be taken up again.
    """
    began, run = time.perf_counter(), search.run_of(trial.number)
    state, value, note = TrialState.COMPLETE, None, ""
    try:
        _set_epochs(search, trial)
        settings = {"models_dir": run.directory.parent, "name": run.name, "verbose": 0}
        callbacks = [_Rungs(search, trial)]
        run = train(search.config_of(trial), search.data, callbacks=callbacks, **settings)
        value = run.metrics[f"{search.measure}_val"]
    except optuna.TrialPruned as pruned:
        state, note = TrialState.PRUNED, str(pruned)
    except DivergenceError:
        state, note = TrialState.PRUNED, f"diverged in epoch {run.metrics['epoch']}"
    except OSError:
        raise
    except Exception as error:  # of impossible combinations, of TensorFlow, of memory: the other trials go on
        if not isinstance(error, InputError):
            _logger.exception("trial %d failed", trial.number)
        state, note = TrialState.FAIL, f"failed: {' '.join(str(error).split())}"
    trial.set_user_attr("note", note)
    trial.set_user_attr("seconds", round(time.perf_counter() - began, 1))
    trial.study.tell(trial, value, state)
    if state != TrialState.COMPLETE and run.directory.exists():
        remove_run(run)  # the journal keeps what is known of it


def _set_epochs(search: Search, trial: optuna.Trial) -> None:
    """Give a trial the epochs that fit into the time of the default's, rounded down.

    Raises:
        TrialPruned: If not one does.
    """
    if "epochs" not in trial.user_attrs:
        cost = relative_cost(search.config_of(trial), search.default, search.data)
        trial.set_user_attr("cost", round(cost, 3))
        trial.set_user_attr("epochs", math.floor(SLACK * search.default.epochs / cost))
    if trial.user_attrs["epochs"] < 1:
        cost, whole = trial.user_attrs["cost"], search.default.epochs
        raise optuna.TrialPruned(f"too slow: an epoch takes as long as {cost:.1f} of the default's {whole}")


def relative_cost(config: TrainConfig, default: TrainConfig, data: ImageDataset) -> float:
    """Return how many times as long an image takes in training as under the default.

    Steps of both are timed in turn, and the fastest of each counts: what else the machine does slows the
    others. Configs that differ in numbers alone, such as the learning rate, cost the same.
    """
    if replace(config, **{name: getattr(default, name) for name in COSTLESS}) == default:
        return 1.0
    steps, times = (_training_step(config, data), _default_step(default, data)), []
    for step in steps * 2:  # traces and warms up
        step()
    end = time.perf_counter() + SECONDS
    while len(times) < ROUNDS or time.perf_counter() < end:
        marks = [time.perf_counter()]
        for step in steps:
            step()
            marks.append(time.perf_counter())
        times.append(np.diff(marks))
    own, its = np.min(times, axis=0)
    return float(own / its) * default.batch_size / config.batch_size


def _training_step(config: TrainConfig, data: ImageDataset):
    """Return a function that takes a training step, always on the same images."""
    loop, (x, y) = TrainingLoop(Run(Path()), config, data), data.images_and_labels("train")
    n = config.batch_size
    batch = (np.asarray(x[:n]), y[:n]) if config.conditional else (np.asarray(x[:n]),)
    return lambda: float(loop.train_step(batch)["loss"])


_KEPT = {}  # the default's step: every trial of a process is timed against it


def _default_step(default: TrainConfig, data: ImageDataset):
    key = default, data.fingerprint()
    if key not in _KEPT:
        _KEPT.clear()
        _KEPT[key] = _training_step(default, data)
    return _KEPT[key]


class _Rungs(keras.callbacks.Callback):
    """Scores a trial at given shares of its steps, and stops it if it is behind others of its network."""

    def __init__(self, search: Search, trial: optuna.Trial):
        super().__init__()
        self.search, self.trial, self.epoch = search, trial, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        total = self.params["epochs"] * self.params["steps"]
        step = self.epoch * self.params["steps"] + batch + 1
        for resource, share in RUNGS.items():
            if step == math.ceil(share * total):
                self._judge(resource)

    def _judge(self, resource: int) -> None:
        x, y = self.search.data.images_and_labels("val")
        y = y if self.search.default.conditional else None
        try:
            value = evaluate(self.model, x, y)[self.search.measure]
        except (ValueError, KeyError):  # not finite: the trainer learns it from the next step
            return
        known = self.trial.study.get_trials(deepcopy=False)[self.trial.number].intermediate_values
        if resource not in known:  # as of a trial that is taken up
            self.trial.report(value, resource)
        if is_behind(self.search, self.trial, resource):
            raise optuna.TrialPruned(f"stopped at {RUNGS[resource]:.0%} of its steps")
