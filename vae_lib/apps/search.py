"""A search: its trials, kept in Optuna's journal, and who works on which.

The journal is a file, so any number of processes may work on one search. A trial is locked by the process
that trains it; the trial of a process that was killed is locked by nobody, and the next process that asks for
work takes it up again.
"""

import contextlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from filelock import FileLock, Timeout
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from vae_lib.apps.search_space import read_space
from vae_lib.config import TrainConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.metrics.registry import HIGHER, METRICS
from vae_lib.training.run import Run
from vae_lib.utils.errors import InputError

RUNGS = {1: 1 / 4, 2: 1 / 2}  # resource, as Optuna counts -> share of a trial's steps
LEAST = 4  # trials behind an importance


@dataclass(frozen=True)
class Search:
    """What is searched, and where.

    Attributes:
        folder: Of the journal, the locks and the trials' runs.
        default: What trials vary, and whose cost they are held to.
        data: Training and validation images; there are no test images among them.
        space: Setting -> values, as in `search_space.SPACE`.
        measure: Of the validation images, by its name in `METRICS`.
    """

    folder: Path
    default: TrainConfig
    data: ImageDataset
    space: dict[str, str]
    measure: str

    def lock(self, name: object) -> FileLock:
        """Return the lock of that name; the system drops it when its process ends."""
        (self.folder / "locks").mkdir(exist_ok=True)
        return FileLock(self.folder / "locks" / f"{name}.lock")

    def run_of(self, number: int) -> Run:
        """Return where the run of a trial is."""
        return Run(self.folder / "trials" / f"trial-{number:03d}")

    def config_of(self, trial) -> TrainConfig:
        """Return the config of a trial; that of one that does not know its epochs yet has the default's."""
        settings = {name: _short(value) for name, value in trial.params.items()}
        return replace(self.default, **settings, epochs=trial.user_attrs.get("epochs", self.default.epochs))

    def study(self) -> optuna.Study:
        """Open the journal, which holds the trials.

        Raises:
            InputError: If it is damaged.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = self.folder / "journal.log"
        direction = "maximize" if METRICS[self.measure].direction == HIGHER else "minimize"
        lock = self.lock("journal")
        with lock:
            _drop_unfinished_line(path)
        try:
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
            settings = {"direction": direction, "load_if_exists": True}
            study = optuna.create_study(storage=storage, study_name="search", **settings)
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise InputError(f"{path} is damaged ({error}): choose another --name") from None
        study.sampler = self._sampler(len(study.get_trials(deepcopy=False)))
        return study

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Return a sampler whose choice depends on the seed, the number and the trials before it alone."""
        seed = int(np.random.default_rng([self.default.seed, number]).integers(2**31))
        return optuna.samplers.TPESampler(seed=seed)


def _drop_unfinished_line(path: Path) -> None:
    """Remove what a full disk left of a line at the end of the journal: it was never acknowledged."""
    if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def claim(search: Search, n_trials: int) -> tuple[optuna.Trial, FileLock] | None:
    """Return a trial whose process has gone, else a new one, with its lock; None once all have ended.

    While there is neither, but another process has a trial, wait: that process might be killed.
    """
    while True:
        with search.lock("claim"):
            study = search.study()
            trials = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
            running = [t for t in trials if t.state == TrialState.RUNNING]
            for found in running:
                with contextlib.suppress(Timeout):
                    lock = search.lock(found.number)
                    lock.acquire(timeout=0)
                    return _with_settings(search, optuna.trial.Trial(study, found._trial_id)), lock
            if len(trials) < n_trials:
                if not study.get_trials(deepcopy=False):
                    for settings in _first_settings(search):
                        study.enqueue_trial(settings)
                trial = study.ask()
                lock = search.lock(trial.number)
                lock.acquire()
                return _with_settings(search, trial), lock
        if not running:
            return None
        with search.lock(running[0].number):
            pass


def _with_settings(search: Search, trial: optuna.Trial) -> optuna.Trial:
    """Sample the settings of a trial; those that it has already stay."""
    for name, (scale, values) in read_space(search.space).items():
        if scale == "choice":
            trial.suggest_categorical(name, values)
        else:
            suggest = trial.suggest_int if isinstance(values[0], int) else trial.suggest_float
            suggest(name, *values, log=scale == "log")
    return trial


def _first_settings(search: Search) -> list[dict]:
    """Return those of the default that lie within the space, and these with each other choice in turn."""
    found, space = {}, read_space(search.space)
    for name, (scale, values) in space.items():
        value = getattr(search.default, name)
        if value in values if scale == "choice" else values[0] <= value <= values[1]:
            found[name] = value
    choices = [
        (name, value) for name, (scale, values) in space.items() if scale == "choice" for value in values
    ]
    return [found, *(found | {name: value} for name, value in choices if found.get(name) != value)]


def is_behind(search: Search, trial: optuna.Trial, resource: int) -> bool:
    """Return whether a trial is in the worse half of those of its network that came to a rung so far.

    Networks start at different speeds: halfway, one may be behind that is ahead at the end.
    """
    trials = trial.study.get_trials(deepcopy=False)
    reached = {
        t.number: t.intermediate_values[resource]
        for t in trials
        if resource in t.intermediate_values
        and search.config_of(t).network == search.config_of(trial).network
    }
    order = sorted(reached, key=reached.get, reverse=METRICS[search.measure].direction == HIGHER)
    return trial.number in order[max(1, len(order) // 2) :]


def describe(search: Search, trial: optuna.trial.FrozenTrial) -> str:
    """Return what became of a trial, and its settings, in a line."""
    note, value = trial.user_attrs["note"], trial.value
    if trial.state == TrialState.COMPLETE:
        note = f"{value:.4g} {METRICS[search.measure].unit}"
    settings = ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
    epochs = f"; {trial.user_attrs['epochs']} epochs" if "epochs" in trial.user_attrs else ""
    return f"trial {trial.number}: {note} ({settings}{epochs})"


def _short(value):
    """Return a number in three digits, so that a command can repeat it."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def trials_table(search: Search) -> pd.DataFrame:
    """Return a row per trial that has ended.

    Columns: `trial`, `status` (finished, stopped, diverged, too slow, failed), `value` on validation at its
    end or, of one that was stopped, at its last rung; the settings; `epochs`, `cost` of an image relative to
    the default's, `seconds`, `note`.
    """
    rows = []
    for trial in search.study().get_trials(deepcopy=False):
        if trial.state.is_finished():
            note = trial.user_attrs.get("note", "")
            words = ("stopped", "diverged", "too slow", "failed")
            status = next((word for word in words if note.startswith(word)), "finished")
            facts = {name: trial.user_attrs.get(name) for name in ("epochs", "cost", "seconds", "note")}
            row = {"trial": trial.number, "status": status, "value": trial.value}
            rows.append(row | {name: _short(value) for name, value in trial.params.items()} | facts)
    return pd.DataFrame(rows)


def best_config(search: Search) -> TrainConfig:
    """Return the config of the trial that is best on the validation images at its end.

    Raises:
        InputError: If no trial has come to its end.
    """
    study = search.study()
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        raise InputError("no trial has finished: the lines above say why; lower --learning_rate, say")
    return search.config_of(study.best_trial)


def importances(search: Search) -> pd.DataFrame:
    """Return how much of the variance of the measure each setting explains, by fANOVA.

    Columns: `setting`, `share` (they sum to 1), `of`: at the first rung, which nearly all trials reach, and
    at the end, which few do. A part with fewer than four trials, or without differences, is left out.

    Source: Hutter et al. 2014, An efficient approach for assessing hyperparameter importance, ICML.
    """
    trials = search.study().get_trials(deepcopy=False)
    reached = {t.number: t.intermediate_values[1] for t in trials if 1 in t.intermediate_values}
    ended = {t.number: t.value for t in trials if t.state == TrialState.COMPLETE}
    rows = []
    for text, values in ((f"after {RUNGS[1]:.0%} of the steps", reached), ("at the end", ended)):
        values = {number: value for number, value in values.items() if math.isfinite(value)}
        if len(values) >= LEAST and len(set(values.values())) > 1:
            shares = _fanova([trials[number] for number in values], list(values.values()))
            of = f"{text}, {len(values)} trials"
            rows += [{"setting": name, "share": float(share), "of": of} for name, share in shares.items()]
    return pd.DataFrame(rows, columns=["setting", "share", "of"])


def _fanova(trials: list[optuna.trial.FrozenTrial], values: list[float]) -> dict[str, float]:
    study = optuna.create_study()
    for trial, value in zip(trials, values, strict=True):
        settings = {"params": trial.params, "distributions": trial.distributions}
        study.add_trial(optuna.trial.create_trial(value=value, **settings))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
