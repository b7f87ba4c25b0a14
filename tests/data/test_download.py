import gzip
import importlib.util
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from tools.execute_notebook import ROOT
from vae_lib.data import download
from vae_lib.data.npz import read_npz
from vae_lib.utils.errors import InputError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
needs_debian = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DEBIAN.is_dir(), reason="dataset-fashion-mnist is not installed"),
]


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """No cache, no system files, and a network that answers on no port of the loopback."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "no_keras"))
    monkeypatch.setattr(download, "DEBIAN_FASHION_MNIST", tmp_path / "no_debian")
    monkeypatch.delenv("VAE_DOWNLOAD_TIMEOUT", raising=False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        use_proxy(monkeypatch, closed.getsockname()[1])


def use_proxy(monkeypatch, port):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def images(n, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *(shape or (9, 8))), dtype=np.uint8)


# Fashion-MNIST's own files


@pytest.fixture
def debian_copy(tmp_path):
    (tmp_path / "copy").mkdir()
    for file in DEBIAN.iterdir():
        (tmp_path / "copy" / file.name).symlink_to(file)
    return tmp_path / "copy"


class TestFashionMnist:
    pytestmark = needs_debian

    def test_original_files_are_read_and_verified(self):
        arrays = download.read_fashion_mnist(DEBIAN)
        assert arrays["x_train"].shape == (60_000, 28, 28, 1) and arrays["x_test"].shape == (
            10_000,
            28,
            28,
            1,
        )
        assert arrays["y_train"][:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
        assert np.bincount(arrays["y_test"]).tolist() == [1000] * 10
        download.verify_fashion_mnist(arrays, "here")

    def test_arrays_with_one_changed_pixel_or_label_are_not_it(self):
        arrays = download.read_fashion_mnist(DEBIAN)
        for key in arrays:
            wrong = arrays | {key: arrays[key].copy()}
            wrong[key].flat[1234] ^= 1
            with pytest.raises(InputError, match=f"here: its {key} is not the published"):
                download.verify_fashion_mnist(wrong, "here")
        with pytest.raises(InputError, match="its y_test"):
            download.verify_fashion_mnist({k: v for k, v in arrays.items() if k != "y_test"}, "here")

    @pytest.mark.parametrize(
        "fault, message",
        [
            (lambda raw, plain: raw[: len(raw) // 2], "EOFError"),
            (lambda raw, plain: b"", "0 instead of 2049"),
            (lambda raw, plain: b"<html>404</html>", "BadGzipFile"),
            (lambda raw, plain: raw[:2000] + b"\x55" * 50 + raw[2050:], "error|BadGzipFile|sha256"),
            (
                lambda raw, plain: gzip.compress(plain[:-1]),
                "9,999 bytes of data for the header's shape [10000]",
            ),
            (lambda raw, plain: gzip.compress(plain[:5]), "0 bytes of data|-3 bytes"),
            (
                lambda raw, plain: gzip.compress(struct.pack(">II", 2051, 10_000) + plain[8:]),
                "2051 instead of 2049",
            ),
            (lambda raw, plain: gzip.compress(plain[:-1] + b"\x07"), "not the published one"),
        ],
    )
    def test_truncated_and_foreign_files(self, debian_copy, fault, message, monkeypatch):
        path = debian_copy / "t10k-labels-idx1-ubyte.gz"
        raw = path.read_bytes()
        path.unlink()
        path.write_bytes(fault(raw, gzip.decompress(raw)))
        before = path.read_bytes()
        monkeypatch.setattr(download, "DEBIAN_FASHION_MNIST", debian_copy)
        with pytest.raises(InputError) as caught:
            download.find_named("fashion_mnist", debian_copy / "data")
        assert any(part in str(caught.value) for part in message.split("|")), caught.value
        assert path.name in str(caught.value) and "--reinstall" in str(caught.value)
        assert not isinstance(caught.value, download.UnavailableError)
        assert path.read_bytes() == before

    def test_a_missing_file(self, debian_copy):
        (debian_copy / "train-images-idx3-ubyte.gz").unlink()
        with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz.*FileNotFoundError"):
            download.read_fashion_mnist(debian_copy)

    def test_keras_cache_serves_without_network_and_is_kept(self, tmp_path, monkeypatch):
        cache = tmp_path / "keras" / "datasets"
        shutil.copytree(DEBIAN, cache / "fashion-mnist")
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        arrays, source = download.find_named("fashion_mnist", tmp_path / "data", download=False)
        assert source == "Keras' cache" and arrays["x_train"].shape == (60_000, 28, 28, 1)
        assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["fashion_mnist.npz"]
        assert len(list((cache / "fashion-mnist").iterdir())) == 4


# Keras, in a process of its own


def unavailable(name, data_dir, **options):
    start = time.monotonic()
    with pytest.raises(download.UnavailableError) as caught:
        download.find_named(name, data_dir, **options)
    assert "\n" not in str(caught.value)
    assert not data_dir.is_dir() or list(data_dir.iterdir()) == []
    return str(caught.value), time.monotonic() - start


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_refused_connections_answer_at_once_and_name_the_remedies(name, tmp_path):
    message, seconds = unavailable(name, tmp_path / "data")
    assert "refused" in message and seconds < 5
    for remedy in (f"Put {name}.npz into", "digits, sprites, color_sprites", str(tmp_path / "data")):
        assert remedy in message
    assert ("apt-get install dataset-fashion-mnist" in message) == (name == "fashion_mnist")


@contextmanager
def serve(answer):
    """Accept connections on the loopback; `answer` gets each."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(30)
    connections = []

    def run():
        with suppress(OSError):  # until the server is closed
            while True:
                connection, _ = server.accept()
                connections.append(connection)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    with server:
        yield server.getsockname()[1], connections
    for connection in connections:
        connection.close()


def test_a_black_hole_answers_within_the_stall_limit(tmp_path, monkeypatch):
    assert download.STALL_SECONDS == 10
    monkeypatch.setattr(download, "STALL_SECONDS", 1.5)
    with serve(lambda connection: None) as (port, connections):
        use_proxy(monkeypatch, port)
        message, seconds = unavailable("cifar10", tmp_path / "data")
    assert connections and "timed out" in message and 1.5 <= seconds < 8


def drip(connection):
    with suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:  # a header without end, which never stalls
            connection.sendall(b"X")
            time.sleep(0.1)


def test_a_download_that_never_ends_is_stopped_and_leaves_nothing(tmp_path, monkeypatch):
    with serve(drip) as (port, connections):
        use_proxy(monkeypatch, port)
        monkeypatch.setenv("VAE_DOWNLOAD_TIMEOUT", "2")
        message, seconds = unavailable("mnist", tmp_path / "data")
    assert connections and "stopped after 2 s; VAE_DOWNLOAD_TIMEOUT" in message and 2 <= seconds < 8


def test_without_download_the_network_is_not_asked(tmp_path, monkeypatch):
    with serve(lambda connection: None) as (port, connections):
        use_proxy(monkeypatch, port)
        message, seconds = unavailable("mnist", tmp_path / "data", download=False)
    assert not connections and "switched off" in message and seconds < 2


@pytest.mark.parametrize("value", ["soon", "0", "-1", "inf", "nan", ""])
def test_a_time_limit_that_is_none(tmp_path, monkeypatch, value):
    monkeypatch.setenv("VAE_DOWNLOAD_TIMEOUT", value)
    with pytest.raises(InputError, match=f"VAE_DOWNLOAD_TIMEOUT: received '{value}'"):
        download.find_named("mnist", tmp_path)


def test_a_foreign_file_in_keras_cache_survives(tmp_path, monkeypatch):
    """Keras itself deletes a cached file whose hash it does not know, and then downloads."""
    cached = tmp_path / "keras" / "datasets" / "mnist.npz"
    cached.parent.mkdir(parents=True)
    save(cached, x_train=images(20, 28, 28), y_train=np.arange(20) % 10)
    before = cached.read_bytes()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    message, _ = unavailable("mnist", tmp_path / "data")
    assert "Keras' cache failed (OSError: Keras' cached file is damaged)" in message and "refused" in message
    assert cached.read_bytes() == before and list(cached.parent.iterdir()) == [cached]


FAKE_KERAS = """
import os, pathlib, numpy
home = pathlib.Path(os.environ["KERAS_HOME"])
def load_data():
    found = home / "datasets" / "mnist.npz"
    x = numpy.load(found)["x_train"] if found.is_file() else numpy.full((4, 28, 28), 7, "uint8")
    (home / "left_behind").touch()
    {fault}
    return (x, numpy.arange(4)), (x[:2], numpy.arange(2))
"""


@pytest.fixture
def fake_keras(tmp_path, monkeypatch):
    def install(fault="pass"):
        package = tmp_path / "fake" / "keras" / "datasets"
        package.mkdir(parents=True)
        (package.parent / "__init__.py").touch()
        (package / "__init__.py").touch()
        (package / "mnist.py").write_text(FAKE_KERAS.format(fault=fault))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
        monkeypatch.setitem(download._KERAS_SERVERS, "mnist", "data:,alive")

    return install


def test_a_download_is_kept_for_the_next_time(tmp_path, fake_keras):
    fake_keras()
    arrays, source = download.find_named("mnist", tmp_path / "data")
    assert source == "keras.datasets download" and np.all(arrays["x_train"] == 7)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mnist.npz"]
    kept = read_npz(tmp_path / "data" / "mnist.npz")
    assert all(np.array_equal(kept[key], arrays[key]) for key in arrays) and set(kept) == set(arrays)


def test_a_cached_file_comes_before_the_network(tmp_path, fake_keras, monkeypatch):
    fake_keras()
    cached = tmp_path / "keras" / "datasets" / "mnist.npz"
    cached.parent.mkdir(parents=True)
    save(cached, x_train=images(4, 28, 28))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    arrays, source = download.find_named("mnist", tmp_path / "data")
    assert source == "Keras' cache" and np.array_equal(arrays["x_train"][..., 0], images(4, 28, 28))
    assert not (tmp_path / "keras" / "left_behind").exists()


def test_folders_that_cannot_be_written_do_not_matter(tmp_path, fake_keras, monkeypatch):
    fake_keras()
    (tmp_path / "file").touch()
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    arrays, _ = download.find_named("mnist", tmp_path / "file" / "data")
    assert np.all(arrays["x_train"] == 7)
    assert (tmp_path / "file").is_file()


@pytest.mark.parametrize(
    "fault, message",
    [
        ("raise Exception('URL fetch failure on X: 404 -- Not Found')", "404 -- Not Found"),
        ("os._exit(7)", "exit code 7"),
        ("x = numpy.zeros((4, 28, 28)) * numpy.nan", "NaN"),
        ("import time; time.sleep(60)", "stopped after 1 s"),
    ],
)
def test_whatever_goes_wrong_in_keras_leaves_nothing(tmp_path, fake_keras, fault, message):
    fake_keras(fault)
    with pytest.raises(InputError, match=message):
        download.find_named("mnist", tmp_path / "data", timeout=1 if "sleep" in fault else 60)
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_keras_downloads_from_the_server_that_is_asked_for_a_sign_of_life(name):
    folder = Path(importlib.util.find_spec("keras").origin).parent / "src" / "datasets"
    assert f'"{download._KERAS_SERVERS[name]}"' in (folder / f"{name}.py").read_text()


def test_importing_the_data_modules_imports_no_framework():
    frameworks = "{'tensorflow', 'keras', 'sklearn', 'pandas'}"
    code = f"import sys, vae_lib.data.loading; print({frameworks} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert result.stdout.strip() == "set()"


def test_digits_are_real_and_use_the_whole_range():
    arrays, source = download.digits()
    assert arrays["x_train"].shape == (1797, 8, 8, 1) and arrays["x_train"].dtype == np.uint8
    assert arrays["x_train"].max() == 255 and len(np.unique(arrays["x_train"])) == 17
    assert arrays["y_train"][:10].tolist() == list(range(10)) and "scikit-learn" in source
    assert os.sep not in source
