"""What fails around a run: full disks, folders that cannot be written, a machine without a desktop."""

import functools
import hashlib
import os
import resource
import shutil
import subprocess
import sys

import pytest

from tests.support.bare_machine import ABSENT
from tests.support.forked import run_cli
from tools.execute_notebook import ROOT
from vae_lib.training.run import load_run

pytestmark = pytest.mark.slow

WORDS = [
    *("train", "--dataset", "digits", "--latent_dim", "2", "--epochs", "3", "--batch_size", "256"),
    *("--width", "4", "--dense_units", "16", "--threads", "1", "--verbose", "0"),
]


def fill_disk_at(name):
    """Let the disk of this process take no more bytes once a file of this name is opened for writing."""

    def fill(event, arguments):
        if event == "open" and name in os.path.basename(str(arguments[0])) and arguments[2] & os.O_CREAT:
            resource.setrlimit(resource.RLIMIT_FSIZE, (16, resource.RLIM_INFINITY))

    sys.addaudithook(fill)


def run(*arguments, program=("-m", "vae_lib"), prefix=(), **environment):
    """Run Python in a process of its own; return exit code, output and errors. None unsets a variable."""
    changed = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", **environment}
    done = subprocess.run(
        [*prefix, sys.executable, *program, *map(str, arguments)],
        **{"capture_output": True, "text": True, "cwd": ROOT, "check": False},
        env={name: value for name, value in changed.items() if value is not None},
    )
    return done.returncode, done.stdout, done.stderr


def one_line(err: str) -> str:
    assert err.count("\n") == 1 and err.startswith("vae_lib: error: "), err
    return err


def contents(folder):
    """The hash of every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("run.lock", ".probe"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    models_dir = tmp_path_factory.mktemp("models")
    assert run_cli(*WORDS, "--models_dir", models_dir)[0] == 0
    return next(models_dir.iterdir())


@pytest.mark.parametrize(
    "name", ["config", "arrays.npz", "state.json", "manifest.json", "history", "model", "record", "metrics"]
)
def test_a_full_disk_names_the_file_and_once_there_is_space_again_the_run_ends_with_the_same_bits(
    undisturbed, tmp_path, name
):
    fault = functools.partial(fill_disk_at, name)
    code, out, err = run_cli(*WORDS, "--models_dir", tmp_path, prepare=fault)
    assert (code, out) == (1, ""), err
    assert "File too large" in one_line(err) and "run the command again" in err
    directory = next(tmp_path.iterdir())
    assert not [path for path in directory.rglob("*") if path.name.startswith(".") and path.is_file()]
    assert not (directory / "metrics.json").exists()
    code, out, err = run_cli(*WORDS, "--models_dir", tmp_path)
    assert code == 0, err
    for kept in ("config.json", "history.csv", "metrics.json"):
        assert (directory / kept).read_bytes() == (undisturbed / kept).read_bytes()
    for mine, theirs in zip(
        load_run(directory).model().weights, load_run(undisturbed).model().weights, strict=True
    ):
        assert (mine.numpy() == theirs.numpy()).all()


def unprivileged():
    """Words before a command that make permissions count, for whoever may write everywhere."""
    if os.geteuid():
        return ()
    words = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    if not shutil.which("setpriv") or subprocess.run([*words, "true"], check=False).returncode:
        pytest.skip("running as root, whom permissions do not bind, and setpriv cannot change that here")
    return words


@pytest.fixture
def read_only(tmp_path):
    folder = tmp_path / "read only"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def test_a_read_only_models_folder_is_refused_before_training(read_only):
    code, out, err = run(*WORDS, "--models_dir", read_only, prefix=unprivileged())
    assert (code, out) == (2, "") and "Permission denied" in one_line(err) and "--models_dir" in err
    assert not list(read_only.iterdir())


@pytest.mark.parametrize("command", ["evaluate", "sample"])
def test_a_read_only_images_folder_is_refused_before_anything_is_computed(read_only, undisturbed, command):
    before = contents(undisturbed.parent)
    code, out, err = run(command, undisturbed, "--out", read_only / "new", prefix=unprivileged())
    assert (code, out) == (2, "") and "Permission denied" in one_line(err) and "--out" in err
    assert not list(read_only.iterdir()) and contents(undisturbed.parent) == before


def test_no_home_no_display_no_widgets_and_no_tensorboard_are_needed(read_only, undisturbed, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(ABSENT)
    bare = {"DISPLAY": None, "WAYLAND_DISPLAY": None, "MPLBACKEND": None, "PYTHONPATH": str(tmp_path)}
    homeless = {**bare, "HOME": str(read_only), "XDG_CACHE_HOME": str(read_only), "MPLCONFIGDIR": None}
    code, _, err = run("import ipywidgets", program=("-c",), **bare)
    assert code == 1 and "No module named 'ipywidgets'" in err  # they are absent indeed
    for words, environment in (
        ([*WORDS, "--models_dir", tmp_path / "models"], homeless),
        (["evaluate", undisturbed, "--quick", "--out", tmp_path / "images"], homeless),
        (["sample", undisturbed, "--out", tmp_path / "samples"], bare),
    ):
        code, _, err = run(*words, prefix=unprivileged(), **environment)
        assert (code, err) == (0, "")
    assert len(list((tmp_path / "images").glob("*.png"))) == 7
    assert not list(read_only.iterdir())
