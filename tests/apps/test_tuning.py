"""Searches with known answers: a learning rate that cannot learn, and whatever a trial may meet."""

import dataclasses
import math
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.forked import code_of, start
from vae_lib.apps.search import Search, claim, importances, is_behind, trials_table
from vae_lib.apps.trials import SLACK, relative_cost, run_trial
from vae_lib.apps.tuning import Tuning, tune
from vae_lib.config import TrainConfig
from vae_lib.data.loading import load_dataset
from vae_lib.metrics.intervals import mean_interval
from vae_lib.training.run import Run, list_runs, load_run
from vae_lib.utils.errors import InputError

slow = pytest.mark.slow
# An mlp is traced fastest. Its rungs are after 4 and 8 steps, of 16.
IDLE = TrainConfig(
    **{"dataset": "digits", "network": "mlp", "latent_dim": 2, "epochs": 4, "batch_size": 256},
    **{"dense_units": 16, "learning_rate": 1e-6, "n_train": 1024},
)
SPACE = {"learning_rate": "1e-6,0.01", "latent_dim": "2,3"}


def bits(run, part):
    return run.metrics[f"bits_per_dim_{part}"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search of six trials whose default cannot learn, and the folder of its figures."""
    folder = tmp_path_factory.mktemp("tune")
    settings = {"trials": 6, "space": SPACE, "seeds": 3, "verbose": 0}
    return tune(IDLE, models_dir=folder / "models", out=folder / "out", **settings), folder, settings


def again(searched, tmp_path, config=IDLE, **changes):
    """Make the same call, in a copy of the folder, with some changes."""
    _, folder, settings = searched
    if not (tmp_path / "models").exists():
        shutil.copytree(folder / "models", tmp_path / "models")
    return tune(config, models_dir=tmp_path / "models", **settings | changes)


@slow
def test_the_config_that_can_learn_is_found_and_better_on_images_that_no_trial_has_seen(searched):
    tuning, _, _ = searched
    assert tuning.chosen.learning_rate == 0.01 and tuning.found
    runs = tuning.comparison.set_index(["config", "seed"])
    assert set(runs.index) == {
        (c, seed) for c in ("default", "chosen") for seed in (1, 2, 3)
    }  # not the search's 0
    for seed in (1, 2, 3):
        for part in ("val", "test"):
            assert (
                runs.loc[("chosen", seed)][f"bits_per_dim_{part}"]
                < runs.loc[("default", seed)][f"bits_per_dim_{part}"]
            )
    assert "found: " in tuning.summary() and "learning_rate: 1e-06 -> 0.01" in tuning.summary()


@slow
def test_the_first_trials_are_the_default_and_the_default_with_each_other_choice(searched):
    tuning, _, _ = searched
    first = tuning.trials.set_index("trial").loc[:2, ["learning_rate", "latent_dim"]]
    assert [tuple(row) for row in first.to_numpy()] == [(1e-6, 2), (0.01, 2), (1e-6, 3)]


@slow
def test_the_choice_is_the_best_of_the_trials_that_finished(searched):
    tuning, _, _ = searched
    trials = tuning.trials.set_index("trial")
    assert len(trials) == 6
    done = trials[trials["status"] == "finished"]
    best = done.loc[done["value"].idxmin()]
    chosen = (tuning.chosen.learning_rate, tuning.chosen.latent_dim, tuning.chosen.epochs)
    assert chosen == (best["learning_rate"], best["latent_dim"], best["epochs"])
    for number, value in done["value"].items():
        run = Run(tuning.directory / "trials" / f"trial-{number:03d}")
        assert bits(run, "val") == value and run.config.epochs == done["epochs"][number]


@slow
def test_a_trial_that_cannot_learn_is_stopped_and_leaves_no_run(searched):
    tuning, _, _ = searched
    stopped = tuning.trials[tuning.trials["status"] == "stopped"]
    left = {run.name for run in list_runs(tuning.directory / "trials")}
    assert len(stopped) and not left & {f"trial-{number:03d}" for number in stopped["trial"]}
    after = tuning.trials[1:]  # the first has nobody to be behind of
    learned = after.loc[after["learning_rate"] == 0.01, "value"]
    assert (after.loc[after["learning_rate"] == 1e-6, "value"] > learned.min()).all()


def test_a_trial_is_stopped_in_the_worse_half_of_its_network_whatever_others_reach(tmp_path, digits):
    search = Search(tmp_path, IDLE, digits, {"network": "mlp,conv"}, "bits_per_dim")
    study = search.study()

    def is_stopped(network, value):
        study.enqueue_trial({"network": network})
        trial = study.ask()
        trial.suggest_categorical("network", ["mlp", "conv"])
        trial.report(value, 1)
        return is_behind(search, trial, 1)

    fast, slow_starters = ("mlp", (3.0, 3.2, 2.9, 2.95)), ("conv", (5.0, 4.0, 4.5))
    assert [is_stopped(fast[0], value) for value in fast[1]] == [False, True, False, False]
    assert [is_stopped(slow_starters[0], value) for value in slow_starters[1]] == [False, False, True]


@slow
def test_test_images_are_scored_for_the_choice_and_the_default_alone(searched):
    tuning, _, _ = searched
    trials, final = (list_runs(tuning.directory / name) for name in ("trials", "final"))
    assert trials and all(run.data["n_test"] == 0 for run in trials)
    assert not [name for run in trials for name in run.metrics if name.endswith("_test")]
    data, scores = load_dataset("digits").subset(n_train=1024), tuning.comparison.set_index("run")
    assert len(final) == 6
    for run in final:
        assert run.data["fingerprint"] == data.fingerprint() and run.data["n_test"] == len(data.x_test)
        assert bits(run, "test") == scores["bits_per_dim_test"][run.name]


@slow
def test_a_trial_gets_the_epochs_of_the_default_s_time(searched):
    trials = searched[0].trials
    assert (trials["epochs"] == np.floor(SLACK * 4 / trials["cost"])).all()
    assert (trials.loc[trials["latent_dim"] == 2, "cost"] == 1).all()  # learning rates cost nothing


@slow
def test_the_setting_that_decides_is_the_most_important(searched):
    shares = searched[0].importances
    for _, of in shares.groupby("of"):
        assert (
            math.isclose(of["share"].sum(), 1) and of.loc[of["share"].idxmax(), "setting"] == "learning_rate"
        )
    assert shares["of"].iloc[0] == "after 25% of the steps, 6 trials"


@slow
def test_tables_and_figures_are_written(searched):
    tuning, folder, _ = searched
    names = {path.name for path in (folder / "out" / tuning.directory.name).iterdir()}
    figures = {f"{name}.{kind}" for name in ("trials", "importances") for kind in ("png", "svg")}
    assert names == {"trials.csv", "importances.csv", "comparison.csv", *figures}


@slow
def test_the_same_call_does_nothing_twice_and_more_trials_are_added(searched, tmp_path):
    tuning = again(searched, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.json")}
    more = again(searched, tmp_path, trials=7)
    assert tuning.trials.equals(searched[0].trials) and tuning.comparison.equals(searched[0].comparison)
    assert more.trials[:6].equals(tuning.trials) and len(more.trials) == 7
    assert times == {path: path.stat().st_mtime_ns for path in times}


@slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"measure": "elbo"}, "measure: bits_per_dim -> elbo"),
        ({"space": {**SPACE, "width": "4:8"}}, "vary width: not -> 4:8"),
        ({"config": dataclasses.replace(IDLE, epochs=5)}, "epochs: 4 -> 5"),
        ({"data": load_dataset("digits").subset(n_train=600)}, "data: "),
    ],
)
def test_another_search_under_the_same_name_is_refused(searched, tmp_path, changes, words):
    name = searched[0].directory.name
    with pytest.raises(InputError, match=f"holds another search .*{words}.*: choose another --name") as error:
        again(searched, tmp_path, name=name, **changes)
    assert "\n" not in str(error.value)


@slow
def test_a_journal_that_a_full_disk_cut_goes_on_and_a_damaged_one_is_named(searched, tmp_path):
    again(searched, tmp_path)
    (journal,) = tmp_path.rglob("journal.log")
    with journal.open("a") as file:
        file.write('{"op_code":5,"worker')
    assert len(again(searched, tmp_path, trials=7).trials) == 7
    journal.write_text("{\n" + journal.read_text())
    with pytest.raises(InputError, match=r"journal.log is damaged .*--name"):
        again(searched, tmp_path)


@slow
def test_the_default_that_no_trial_beats_is_chosen_and_nothing_is_found(tmp_path):
    config = dataclasses.replace(IDLE, learning_rate=0.01)
    settings = {"space": {"learning_rate": "1e-6,0.01"}, "seeds": 2, "verbose": 0}
    tuning = tune(config, trials=2, models_dir=tmp_path, **settings)
    assert tuning.chosen == config and set(tuning.comparison["config"]) == {"default"} and not tuning.found
    assert "found nothing: the default is the best of 2 trials" in tuning.summary()


def tuning_of(default, chosen, looked_before=0, measure="bits_per_dim"):
    """What a search with these scores of three seeds found, the same on validation and test; NaN diverged."""
    rows = [
        {"config": config, "seed": seed, "epochs": 2, "seconds": 5.0, "run": "", "status": status(value)}
        | {f"{measure}_{part}": value for part in ("val", "test")}
        for config, values in (("default", default), ("chosen", chosen))
        for seed, value in enumerate(values)
    ]
    trials = pd.DataFrame(
        {"trial": [0, 1], "status": ["finished", "diverged"], "note": ["", "diverged in epoch 1"]}
    )
    config = dataclasses.replace(IDLE, width=8)
    tables = trials, pd.DataFrame(), pd.DataFrame(rows)
    return Tuning(Path("x"), measure, IDLE, config, "digits", *tables, looked_before)


def status(value):
    return "diverged" if math.isnan(value) else "finished"


@pytest.mark.parametrize(
    ("tuning", "found", "words"),
    [
        (
            tuning_of([3.0, 3.1, 3.2], [2.8, 2.9, 3.0]),
            True,
            "found: width: 16 -> 8; validation 3.100 to 2.900",
        ),
        (tuning_of([3.0, 3.1, 3.2], [3.2, 3.3, 3.4]), False, "found nothing that exceeds the noise of seeds"),
        (tuning_of([3.0, 3.1, 3.2], [2.5, 3.2, 3.1]), False, "found nothing that exceeds the noise of seeds"),
        (tuning_of([3.0, 3.1, 3.2], [2.8, 2.9, math.nan]), False, "found nothing that exceeds"),
        (
            tuning_of([3.0, 3.1, 3.2], [math.nan] * 3),
            False,
            "no run of the choice (width: 16 -> 8) has finished",
        ),
        (tuning_of([3.0, 3.1, 3.2], [3.2, 3.3, 3.4], measure="elbo"), True, "found: width"),
        (
            tuning_of([3.0, 3.1], [2.8, 3.2], 2),
            False,
            "2 runs of other choices were scored on these test images",
        ),
    ],
)
def test_what_was_found_is_better_on_every_count_or_nothing_is(tuning, found, words):
    assert tuning.found == found and words in tuning.summary()
    assert "2 trials: 1 finished, 1 diverged\ntrial 1: diverged in epoch 1" in tuning.summary()


@pytest.mark.slow
def test_trials_that_diverge_are_too_slow_or_impossible_count_and_are_reported(tmp_path):
    config = dataclasses.replace(IDLE, likelihood="bernoulli", learning_rate=0.01, epochs=2, dense_units=4)
    search = make_search(tmp_path, config, {"learning_rate": "1e8"}, "elbo")
    assert "diverged in epoch" in run_trial(search, 1) and run_trial(search, 1) is None
    slow_one = dataclasses.replace(config, epochs=1)
    search = make_search(tmp_path / "slow", slow_one, {"dense_units": "2048"}, "elbo")
    assert "too slow: an epoch takes as long as" in run_trial(search, 1)
    search = make_search(
        tmp_path / "flow", dataclasses.replace(config, latent_dim=1), {"prior": "flow"}, "elbo"
    )
    assert "failed: prior 'flow' needs latent_dim" in run_trial(search, 1)
    for folder in (tmp_path, tmp_path / "slow", tmp_path / "flow"):
        assert not (folder / "trials").exists() or not list_runs(folder / "trials")
    assert list(trials_table(search)["status"]) == ["failed"] and importances(search).empty
    with pytest.raises(InputError, match="no trial has finished"):
        tune(config, trials=1, space={"learning_rate": "1e8"}, measure="elbo", models_dir=tmp_path, verbose=0)


def make_search(folder, config, space, measure="bits_per_dim"):
    folder.mkdir(parents=True, exist_ok=True)
    data = load_dataset("digits").subset(n_train=config.n_train).without_test()
    return Search(folder, config, data, space, measure)


@pytest.mark.slow
def test_a_larger_model_costs_more_and_the_same_costs_the_same(digits):
    wide, deep = (
        dataclasses.replace(IDLE, dense_units=2048),
        dataclasses.replace(IDLE, beta=2.0, learning_rate=1),
    )
    assert relative_cost(wide, IDLE, digits) > 2 and relative_cost(deep, IDLE, digits) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trials": 0}, "trials must be an integer, 1 or more; received 0"),
        ({"seeds": 1}, "seeds must be an integer, 2 or more; received 1"),
        ({"measure": "fid"}, "measure must be one of bits_per_dim, .*; received 'fid'"),
        ({"space": {"depth": "1:4"}}, "a setting to vary must be one of"),
        (
            {"config": dataclasses.replace(IDLE, likelihood="bernoulli")},
            "bernoulli has no bits_per_dim: .*elbo",
        ),
        (
            {"config": dataclasses.replace(IDLE, epochs=4, annealing="cyclical", anneal_epochs=2)},
            "annealing must be none or linear in a search, .*; received cyclical",
        ),
        ({"config": dataclasses.replace(IDLE, batch_size=5000)}, "batch_size must not exceed the 1024"),
        ({"name": "../x"}, "name must be letters"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        tune(changes.pop("config", IDLE), models_dir=tmp_path / "models", out=tmp_path / "out", **changes)
    assert not list(tmp_path.iterdir())


def test_without_optuna_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)  # as if it were not installed
    remedy = r"^tune needs optuna: pip install -e '\.\[tune\]' in the project's folder$"
    with pytest.raises(InputError, match=remedy):
        tune(IDLE, models_dir=tmp_path / "models")
    assert not list(tmp_path.iterdir())


LONG = dataclasses.replace(IDLE, batch_size=32, epochs=12, learning_rate=0.003)  # 32 steps an epoch


BETAS = {"beta": "0.5:2"}


def work_in_child(folder, n_trials):
    """Do what a worker of `tune` does, until all trials have ended."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    while run_trial(make_search(folder, LONG, BETAS), n_trials):
        pass


@slow
def test_the_trial_of_a_killed_process_is_taken_up_from_its_checkpoint_to_the_same_value(tmp_path):
    process = start(work_in_child, tmp_path / "search", 2)
    first = tmp_path / "search" / "trials" / "trial-000"
    while not list(first.glob("checkpoint/step-*")):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert code_of(process) == -signal.SIGKILL and not (first / "metrics.json").exists()
    began = (first / "config.json").stat().st_mtime_ns
    search = make_search(tmp_path / "search", LONG, BETAS)
    assert trials_table(search).empty
    trial, lock = claim(search, 2)
    assert trial.number == 0  # no other is begun while it waits
    lock.release()
    work_in_child(tmp_path / "search", 2)
    table = trials_table(search)
    assert list(table["trial"]) == [0, 1] and table["status"][0] == "finished"
    assert (first / "config.json").stat().st_mtime_ns == began  # not started again
    undisturbed = make_search(tmp_path / "whole", LONG, BETAS)
    run_trial(undisturbed, 1)
    assert trials_table(undisturbed)["value"][0] == table["value"][0]


@slow
def test_two_processes_share_the_trials_of_a_search_and_lose_none(tmp_path):
    both = [start(work_in_child, tmp_path / "search", 4) for _ in range(2)]
    assert [code_of(process) for process in both] == [0, 0]
    table = trials_table(make_search(tmp_path / "search", LONG, BETAS))
    assert list(table["trial"]) == [0, 1, 2, 3] and table["beta"].nunique() == 4


def test_the_docs_tell_what_the_committed_search_found():
    root = Path(__file__).parents[2]
    runs = [load_run(folder) for folder in (root / "models/tune/fashion_mnist/final").iterdir()]
    table = pd.DataFrame({"network": r.config.network, "seed": r.config.seed, **r.metrics} for r in runs)
    text = (root / "docs" / "tuning.md").read_text(encoding="utf-8")
    for part in ("val", "test"):
        bits = table.pivot_table(f"bits_per_dim_{part}", "seed", "network")
        assert all(f"| {mean:.3f} |" in text for mean in bits.mean())
        mean, half_width = mean_interval(bits["hierarchical"] - bits["conv"])
        assert f"{mean:.3f} ± {half_width:.3f}" in text
