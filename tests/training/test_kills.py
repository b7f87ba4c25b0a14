"""Processes that are killed, stopped, or two at once: nothing is lost or half-written, and no bit differs."""

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
from tests.support.forked import code_of, read, start, start_cli
from tools.execute_notebook import ROOT
from vae_lib.cli import main
from vae_lib.config import TrainConfig
from vae_lib.training.checkpoint import Checkpoint
from vae_lib.training.run import load_run
from vae_lib.training.trainer import train
from vae_lib.utils.errors import InputError

pytestmark = pytest.mark.slow

# Noise of z and of pixels, labels, a beta that moves: all must be resumed. 12 epochs of 23 steps.
CONFIG = TrainConfig(
    **{"dataset": "digits", "latent_dim": 2, "epochs": 12, "batch_size": 64, "width": 4, "dense_units": 16},
    **{"likelihood": "bernoulli", "binarize": True, "conditional": True, "network": "mlp"},
    **{"annealing": "linear", "anneal_epochs": 6.0, "weight_decay": 0.0},
)
STEPS = 12 * 23


def train_in_child(models_dir, die_at=None):
    """Train; with `die_at`, be killed just before the file of that name is put in place or removed."""
    from vae_lib.data.loading import load_dataset
    from vae_lib.training import trainer

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


def newest_step(models_dir):
    return max((int(path.name[5:]) for path in models_dir.glob("*/checkpoint/step-*")), default=0)


def wait_for_step(process, models_dir, step):
    """Wait until a checkpoint of at least this step exists, or the process has ended."""
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
    assert len({step % 23 for step in survived} - {0}) > 3  # in mid-epoch too
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


WORDS = [
    *("train", "--dataset", "digits", "--latent_dim", "2", "--width", "4", "--dense_units", "16"),
    *("--batch_size", "64", "--epochs", "100", "--verbose", "0"),
]


def test_ctrl_c_and_sigterm_save_say_how_to_resume_and_exit_by_their_code(tmp_path):
    words = [*WORDS, "--verbose", "1", "--models_dir", str(tmp_path)]
    first = subprocess.Popen(
        [sys.executable, "-m", "vae_lib", *words, "--threads", "1"], stderr=subprocess.PIPE, text=True
    )
    wait_for_step(first, tmp_path, 1)
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=60)
    message = "vae_lib: error: interrupted: the same command resumes the run\n"
    assert (first.returncode, err) == (130, message)
    step = newest_step(tmp_path)
    second, out, err = start_cli([*words, "--threads", "2"])
    wait_for_step(second, tmp_path, step + 1)
    os.kill(second.pid, signal.SIGTERM)
    assert f"after step {step} of 2300" in read(out)
    assert read(err).splitlines() == [
        "resuming on 2 threads a run that was started on 1: its last bits will differ",
        "vae_lib: error: terminated: the same command resumes the run",
    ]
    assert code_of(second) == 143 and newest_step(tmp_path) > step
    assert {path.name for path in next(tmp_path.iterdir()).iterdir()} - {"run.lock"} == {
        *("config.json", "checkpoint")
    }


def test_a_run_stopped_by_sigterm_and_by_ctrl_c_equals_one_that_was_not(undisturbed, tmp_path):
    for step, signum, code in ((10, signal.SIGTERM, 143), (100, signal.SIGINT, 1)):
        process = start(train_in_child, tmp_path)
        wait_for_step(process, tmp_path, step)
        os.kill(process.pid, signum)
        assert code_of(process) == code
        assert not list(tmp_path.glob("*/metrics.json"))
    assert_equal_bits(undisturbed, finish(tmp_path))


def test_an_unfinished_run_is_not_resumed_with_another_config_and_keeps_its_checkpoints(tmp_path, capfd):
    words = [*WORDS, "--models_dir", str(tmp_path), "--name", "mine"]
    process, *_ = start_cli(words)
    wait_for_step(process, tmp_path, 1)
    process.kill()
    assert code_of(process) == -signal.SIGKILL
    checkpoints = {path: path.read_bytes() for path in tmp_path.glob("mine/checkpoint/*/*")}
    for change, difference in (
        (["--latent_dim", "3"], "latent_dim: 2 -> 3"),
        (["--beta", "4"], "beta: 1.0 -> 4.0"),
        (["--n_train", "500"], "n_train: None -> 500"),
        (["--dataset", "sprites"], "dataset: digits -> sprites"),
    ):
        capfd.readouterr()
        assert main([*words, *change]) == 2
        out, err = capfd.readouterr()
        assert out == "" and err.count("\n") == 1 and difference in err and "--fresh" in err
    assert checkpoints and all(path.read_bytes() == content for path, content in checkpoints.items())


def test_of_two_processes_that_start_at_once_one_trains_and_the_other_names_it(tmp_path):
    words = [*WORDS, "--epochs", "30", "--models_dir", tmp_path]
    processes, _, errors = zip(*(start_cli(words) for _ in range(2)), strict=True)
    messages = [read(pipe) for pipe in errors]
    codes = [code_of(process) for process in processes]
    assert sorted(codes) == [0, 2]
    message, holder = messages[codes.index(2)], processes[codes.index(0)].pid
    assert message.count("\n") == 1 and f"is being trained by process {holder} on " in message
    assert load_run(next(tmp_path.iterdir())).is_done


def test_a_second_process_names_the_holder_of_a_run_and_a_lock_left_behind_blocks_nobody(tmp_path, digits):
    process = start(train_in_child, tmp_path)
    wait_for_step(process, tmp_path, 3)
    with pytest.raises(InputError, match=rf"is being trained by process {process.pid} on "):
        train(CONFIG, digits, models_dir=tmp_path, verbose=0)
    process.kill()
    assert code_of(process) == -signal.SIGKILL and list(tmp_path.glob("*/run.lock"))
    assert train(CONFIG, digits, models_dir=tmp_path, verbose=0).is_done
