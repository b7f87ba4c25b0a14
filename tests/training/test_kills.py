"""Processes that are killed, stopped, or two at once: nothing is lost, nothing half-written, no bit differs.

The children are forked from a server that has imported TensorFlow once and computed nothing.
"""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.failpoints import checkpoint
from tools.execute_notebook import ROOT
from vae_lib.cli import main
from vae_lib.config import TrainConfig
from vae_lib.training.checkpoint import Checkpoint
from vae_lib.training.run import load_run

pytestmark = pytest.mark.slow
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["vae_lib.training.trainer"])

# Noise of z and of pixels, labels, a beta that moves: all must be resumed. 12 epochs of 23 steps.
CONFIG = TrainConfig(
    **{"dataset": "digits", "latent_dim": 2, "epochs": 12, "batch_size": 64, "width": 4, "dense_units": 16},
    **{"likelihood": "bernoulli", "binarize": True, "conditional": True, "network": "mlp"},
    **{"annealing": "linear", "anneal_epochs": 6.0},
)
STEPS = 12 * 23


def train_in_child(models_dir, die_at=None):
    """Train; with `die_at`, be killed just before the file of that name is put in place or removed."""
    from vae_lib.data.loading import load_dataset
    from vae_lib.training import trainer
    from vae_lib.training.trainer import train

    def watch(event, arguments):
        if event == "os.rename" and os.path.basename(arguments[1]) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if event == "shutil.rmtree" and os.path.basename(arguments[0]) == die_at and newest_step(models_dir):
            os.kill(os.getpid(), signal.SIGKILL)

    if die_at:
        sys.addaudithook(watch)
    trainer.CHECKPOINT_STEPS = 5
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    train(CONFIG, load_dataset("digits"), models_dir=models_dir, verbose=0)


def start(target, *arguments):
    process = SERVER.Process(target=target, args=arguments)
    process.start()
    return process


def code_of(process):
    process.join(120)
    return process.exitcode


def newest_step(models_dir):
    return max((int(path.name[5:]) for path in models_dir.glob("*/checkpoint/step-*")), default=0)


def wait_for_step(process, models_dir, step):
    """Wait until a checkpoint of at least this step lies there, or the process has ended."""
    ended = process.poll if isinstance(process, subprocess.Popen) else lambda: process.exitcode
    while ended() is None and newest_step(models_dir) < step:
        time.sleep(0.002)


def finish(models_dir):
    """Let a run write its results; return it with its last checkpoint, which a kill keeps from removal."""
    assert code_of(start(train_in_child, models_dir, "checkpoint")) == -signal.SIGKILL
    directory = next(models_dir.iterdir())
    last = Checkpoint.load_latest(directory / "checkpoint")
    assert last.step == STEPS
    assert code_of(start(train_in_child, models_dir)) == 0  # the run is finished: this only tidies up
    assert not (directory / "checkpoint").exists()
    return load_run(directory), last


def assert_equal_bits(one, other):
    (run, last), (other_run, other_last) = one, other
    for name in ("config.json", "history.csv", "metrics.json"):
        assert (run.directory / name).read_bytes() == (other_run.directory / name).read_bytes()
    for mine, theirs in zip(run.model().weights, other_run.model().weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert last.arrays.keys() == other_last.arrays.keys()
    assert {name.split("/")[0] for name in last.arrays} == {"weights", "optimizer", "trackers", "best"}
    for name in last.arrays:
        np.testing.assert_array_equal(last.arrays[name], other_last.arrays[name], err_msg=name)
    assert last.state["history"] == other_last.state["history"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return finish(tmp_path_factory.mktemp("models"))


def test_a_run_killed_at_20_random_moments_equals_one_that_was_not(undisturbed, tmp_path):
    moments = random.Random(0)
    steps = sorted(moments.sample(range(STEPS - 20), 20))
    survived = []
    for step in steps:
        process = start(train_in_child, tmp_path)
        wait_for_step(process, tmp_path, step)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        assert code_of(process) == -signal.SIGKILL  # it had not ended by itself
        survived.append(newest_step(tmp_path))
    assert len({step % 23 for step in survived} - {0}) > 3  # in mid-epoch, too
    for name in ("history.csv", "model.keras", "record.json", "metrics.json"):
        assert code_of(start(train_in_child, tmp_path, name)) == -signal.SIGKILL
        assert not list(tmp_path.glob(f"*/{name}"))
    run = finish(tmp_path)
    assert_equal_bits(undisturbed, run)
    assert {path.name for path in run[0].directory.iterdir()} - {"run.lock"} == {
        *("config.json", "history.csv", "metrics.json", "model.keras", "record.json")
    }


def test_a_damaged_checkpoint_costs_steps_and_not_a_bit(undisturbed, tmp_path):
    process = start(train_in_child, tmp_path)
    wait_for_step(process, tmp_path, 40)
    process.kill()
    process.join()
    newest = max(tmp_path.glob("*/checkpoint/step-*")) / "arrays.npz"
    newest.write_bytes(newest.read_bytes()[:-100])
    assert_equal_bits(undisturbed, finish(tmp_path))


def test_a_kill_at_every_moment_of_writing_a_checkpoint_leaves_one_that_is_intact(tmp_path, caplog):
    subprocess.run([sys.executable, "-m", "tests.support.failpoints", tmp_path], cwd=ROOT, check=True)
    found = []
    for folder in sorted(tmp_path.iterdir(), key=lambda path: int(path.name)):
        latest = Checkpoint.load_latest(folder)
        expected = checkpoint(latest.step)
        assert latest.state == expected.state
        for name in expected.arrays:
            np.testing.assert_array_equal(latest.arrays[name], expected.arrays[name])
        found.append(latest.step)
        if latest.step == 2:  # the writer's successor comes to the same moment
            expected = checkpoint(3)
        expected.save(folder)
        assert sorted(path.name for path in folder.iterdir()) == ["step-00000002", "step-00000003"]
    assert found == sorted(found) and set(found) == {2, 3} and len(found) > 100
    assert not caplog.records  # no checkpoint was ever seen in parts


def test_a_checkpoint_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    events, fsync, rename = [], os.fsync, os.rename

    def flush(descriptor):
        events.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "rename", lambda *names: (events.append("rename"), rename(*names)))
    checkpoint(1).save(tmp_path)
    assert sorted(events[:3]) == ["arrays.npz", "manifest.json", "state.json"]
    assert events[3:] == [".writing", "rename", tmp_path.name]


OPTIONS = [
    "--dataset",
    "digits",
    "--latent_dim",
    "2",
    "--width",
    "4",
    "--dense_units",
    "16",
    "--batch_size",
    "64",
]


def command(models_dir, *options):
    """Start the real command line; its standard error is a pipe."""
    words = ["train", *OPTIONS, "--epochs", "100", "--models_dir", str(models_dir), *options]
    return subprocess.Popen(
        [sys.executable, "-m", "vae_lib", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_ctrl_c_and_sigterm_save_say_how_to_resume_and_exit_by_their_code(tmp_path):
    first = command(tmp_path, "--threads", "1")
    wait_for_step(first, tmp_path, 1)
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=60)
    told = "vae_lib: error: interrupted: the same command resumes the run\n"
    assert (first.returncode, err) == (130, told)
    step = newest_step(tmp_path)
    second = command(tmp_path, "--threads", "2")
    wait_for_step(second, tmp_path, step + 1)
    second.send_signal(signal.SIGTERM)
    out, err = second.communicate(timeout=60)
    assert f"after step {step} of 2300" in out
    assert err.splitlines() == [
        "resuming on 2 threads a run that was begun on 1: its last bits will differ",
        "vae_lib: error: terminated: the same command resumes the run",
    ]
    assert second.returncode == 143 and newest_step(tmp_path) > step
    assert {path.name for path in next(tmp_path.iterdir()).iterdir()} - {"run.lock"} == {
        *("config.json", "checkpoint")
    }


def test_an_unfinished_run_is_not_resumed_with_another_config_and_keeps_its_checkpoints(tmp_path, capfd):
    process = command(tmp_path, "--name", "mine")
    wait_for_step(process, tmp_path, 1)
    process.kill()
    process.communicate()
    checkpoints = {path: path.read_bytes() for path in tmp_path.glob("mine/checkpoint/*/*")}
    words = ["train", *OPTIONS, "--epochs", "100", "--models_dir", str(tmp_path), "--name", "mine"]
    for change, told in (
        (["--latent_dim", "3"], "latent_dim: 2 -> 3"),
        (["--beta", "4"], "beta: 1.0 -> 4.0"),
        (["--n_train", "500"], "n_train: None -> 500"),
        (["--dataset", "sprites"], "dataset: digits -> sprites"),
    ):
        capfd.readouterr()
        assert main([*words, *change]) == 2
        out, err = capfd.readouterr()
        assert out == "" and err.count("\n") == 1 and told in err and "--fresh" in err
    assert checkpoints and all(path.read_bytes() == content for path, content in checkpoints.items())


def cli_in_child(models_dir, out):
    """Run the command line with its output in a file."""
    with open(out, "w", buffering=1) as sys.stderr:
        sys.stdout = sys.stderr
        words = [*OPTIONS, "--epochs", "40", "--verbose", "0"]
        sys.exit(main(["train", *words, "--models_dir", str(models_dir)]))


def test_of_two_processes_that_start_at_once_one_trains_and_the_other_is_told_who(tmp_path):
    models_dir = tmp_path / "models"
    processes = [start(cli_in_child, models_dir, tmp_path / f"{i}.txt") for i in range(2)]
    codes = [code_of(process) for process in processes]
    assert sorted(codes) == [0, 2]
    holder = processes[codes.index(0)].pid
    told = (tmp_path / f"{codes.index(2)}.txt").read_text()
    assert told.count("\n") == 1 and f"is being trained by process {holder} on " in told
    assert load_run(next(models_dir.iterdir())).is_done
