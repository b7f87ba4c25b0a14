import _thread
import gc
import gzip
import hashlib
import importlib.util
import io
import pickle
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


def npz(**arrays):
    """Return the bytes of an .npz file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def images(n, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *(shape or (9, 8))), dtype=np.uint8)


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path_factory, monkeypatch):
    """The system's temporary folder, in which nothing may remain."""
    folder = tmp_path_factory.mktemp("system")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


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
            (lambda raw, plain: b"", "not the published one"),
            (lambda raw, plain: b"<html>404</html>", "BadGzipFile"),
            (lambda raw, plain: raw[:2000] + b"\x55" * 50 + raw[2050:], "error|BadGzipFile|sha256"),
            (lambda raw, plain: gzip.compress(plain[:-1]), "not the published one"),
            (lambda raw, plain: gzip.compress(plain[:5]), "not the published one"),
            (
                lambda raw, plain: gzip.compress(struct.pack(">II", 2051, 10_000) + plain[8:]),
                "not the published one",
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


# The network


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


def test_a_name_server_that_never_answers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "STALL_SECONDS", 1.5)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name)
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: over.wait(60))
    message, seconds = unavailable("mnist", tmp_path / "data")
    assert "timed out: no data for 1.5 s" in message and 1.5 <= seconds < 8
    over.set()


def drip(connection):
    with suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:  # a header without end
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
def test_a_time_limit_that_is_no_positive_number(tmp_path, monkeypatch, value):
    monkeypatch.setenv("VAE_DOWNLOAD_TIMEOUT", value)
    with pytest.raises(InputError, match=f"VAE_DOWNLOAD_TIMEOUT: received '{value}'"):
        download.find_named("mnist", tmp_path)


# A server of files


class Server(ThreadingHTTPServer):
    """A server on the loopback; `answers` holds, for each path, bytes or a function of the handler."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.answers, self.asked = {}, []

    def handle_error(self, *_):
        """A client that goes away is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path[1:])
        answer = self.server.answers.get(self.path[1:])
        if callable(answer):
            answer(self)
        elif answer is None:
            self.send_error(404)
        else:
            self.start(len(answer))
            self.wfile.write(answer)

    def start(self, length):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name)
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def publish(server, monkeypatch):
    """Publish a data set as these bytes, and serve an answer, which by default is the same bytes."""

    def publish(name, content, answer=None):
        [path] = download._FILES[name]
        server.answers[name] = answer or content
        monkeypatch.setitem(download._FILES, name, {path: server.url + name})
        monkeypatch.setitem(download._SHA256, path, hashlib.sha256(content).hexdigest())

    return publish


X, Y = images(6, 28, 28), np.arange(6, dtype=np.uint8)
MNIST = npz(x_train=X[:4], y_train=Y[:4], x_test=X[4:], y_test=Y[4:])


def assert_mnist(arrays):
    assert set(arrays) == {"x_train", "y_train", "x_test", "y_test"}
    assert np.array_equal(np.concatenate([arrays["x_train"], arrays["x_test"]])[..., 0], X)
    assert np.array_equal(np.concatenate([arrays["y_train"], arrays["y_test"]]), Y)


def test_a_download_is_kept_for_the_next_time(tmp_path, publish, server, capfd):
    publish("mnist", MNIST)
    arrays, source = download.find_named("mnist", tmp_path / "data")
    assert source == "keras.datasets download" and server.asked == ["mnist"]
    assert_mnist(arrays)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mnist.npz"]
    kept = read_npz(tmp_path / "data" / "mnist.npz")
    assert all(np.array_equal(kept[key], arrays[key]) for key in arrays) and set(kept) == set(arrays)
    assert capfd.readouterr() == ("", "")  # no bar where there is no terminal


def test_a_terminal_shows_a_progress_bar(tmp_path, publish, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    publish("mnist", MNIST)
    monkeypatch.setattr("sys.stderr", Terminal())
    download.find_named("mnist", tmp_path)
    assert "mnist" in sys.stderr.getvalue() and "100%" in sys.stderr.getvalue()


BARE_NOTEBOOK = """
import sys
from pathlib import Path
import IPython, ipykernel.zmqshell
sys.modules["ipywidgets"] = None
from vae_lib.data import download
try:
    download.find_named("mnist", Path(sys.argv[1]))
except download.UnavailableError:
    print("unavailable")
"""


def test_a_notebook_without_ipywidgets_shows_no_warning_of_tqdm(tmp_path):
    command = [sys.executable, "-c", BARE_NOTEBOOK, tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (result.stdout, result.stderr) == ("unavailable\n", "")


def test_cifar10_is_read_from_its_archive(tmp_path, publish):
    pixels, labels = images(12, 32, 32, 3), [*range(10), 0, 1]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        batches = {f"data_batch_{i}": slice(2 * i - 2, 2 * i) for i in (3, 1, 5, 2, 4)}
        for name, rows in {**batches, "test_batch": slice(10, 12), "batches.meta": slice(0)}.items():
            rows_of_planes = pixels[rows].transpose(0, 3, 1, 2).reshape(-1, 3072)
            content = pickle.dumps({b"data": rows_of_planes, b"labels": labels[rows]}, protocol=2)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    publish("cifar10", archive.getvalue())
    arrays, _ = download.find_named("cifar10", tmp_path)
    assert np.array_equal(arrays["x_train"], pixels[:10]) and np.array_equal(arrays["x_test"], pixels[10:])
    assert arrays["y_train"].tolist() == labels[:10] and arrays["y_test"].tolist() == [0, 1]
    assert arrays["y_train"].dtype == np.int64 and read_npz(tmp_path / "cifar10.npz").keys() == arrays.keys()


class TestFashionMnistServer:
    pytestmark = needs_debian

    @pytest.fixture
    def files(self, server, monkeypatch):
        paths = download._FILES["fashion_mnist"]
        assert len(paths) == 4
        monkeypatch.setitem(download._FILES, "fashion_mnist", {path: server.url + path for path in paths})
        server.answers |= {path: (DEBIAN / Path(path).name).read_bytes() for path in paths}
        return server.answers

    def test_its_four_files_are_downloaded_and_verified(self, tmp_path, files, server):
        arrays, _ = download.find_named("fashion_mnist", tmp_path)
        assert sorted(server.asked) == sorted(files) and len(server.asked) == 4
        download.verify_fashion_mnist(arrays, "here")
        download.verify_fashion_mnist(read_npz(tmp_path / "fashion_mnist.npz"), "here")

    def test_one_wrong_label_is_refused(self, tmp_path, files):
        path = "fashion-mnist/t10k-labels-idx1-ubyte.gz"
        plain = gzip.decompress(files[path])
        files[path] = gzip.compress(plain[:-1] + bytes([plain[-1] ^ 1]))
        message, _ = unavailable("fashion_mnist", tmp_path / "data")
        assert "t10k-labels-idx1-ubyte.gz': not the Fashion-MNIST file" in message


def cut(handler):
    handler.start(len(MNIST))
    handler.wfile.write(MNIST[:700])


def reset(handler):
    cut(handler)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def stall(handler):
    cut(handler)
    time.sleep(60)


def trickle(handler):
    handler.start(10**7)
    while True:
        handler.wfile.write(bytes(1000))
        time.sleep(0.05)


def slow_bytes(handler):
    handler.start(10**7)
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.05)


@pytest.mark.parametrize(
    "answer, message",
    [
        (MNIST[:-1] + b"x", "does not match the known hash"),
        (MNIST[:-1], "does not match the known hash"),
        (b"<html>please log in</html>", "does not match the known hash"),
        (lambda handler: handler.send_error(404), "404 Client Error: Not Found"),
        (lambda handler: handler.send_error(503), "503 Server Error"),
        (cut, "IncompleteRead"),
        (reset, "reset by peer|IncompleteRead"),
        (stall, "timed out: no data for 1.2 s"),
        (slow_bytes, "timed out: no data for 1.2 s"),
        (trickle, "stopped after 2 s; VAE_DOWNLOAD_TIMEOUT"),
    ],
)
def test_whatever_goes_wrong_on_the_way_leaves_nothing(tmp_path, publish, monkeypatch, answer, message):
    publish("mnist", MNIST, answer)
    monkeypatch.setattr(download, "STALL_SECONDS", 1.2)
    monkeypatch.setenv("VAE_DOWNLOAD_TIMEOUT", "2")
    found, seconds = unavailable("mnist", tmp_path / "data")
    assert any(part in found for part in message.split("|")), found
    assert "keras.datasets download failed" in found and "Put mnist.npz into" in found and seconds < 8


def test_a_download_that_is_given_up_ends(tmp_path, publish, monkeypatch):
    hung_up = threading.Event()

    def answer(handler):
        try:
            trickle(handler)
        except OSError:
            hung_up.set()

    publish("mnist", MNIST, answer)
    monkeypatch.setenv("VAE_DOWNLOAD_TIMEOUT", "1")
    unavailable("mnist", tmp_path / "data")
    for _ in range(100):
        gc.collect()  # the connection is closed with the last reference to it
        if hung_up.wait(0.1):
            break
    assert hung_up.is_set()


def test_control_c_leaves_nothing(tmp_path, publish):
    over = threading.Event()

    def interrupt(handler):
        cut(handler)
        _thread.interrupt_main()
        while not over.wait(2):  # it is lost where it meets a callback of the collector, as Hypothesis has
            _thread.interrupt_main()

    publish("mnist", MNIST, interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            download.find_named("mnist", tmp_path / "data")
    finally:
        over.set()
        signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "data").exists()


def test_a_published_file_that_makes_no_sense_is_not_kept(tmp_path, publish):
    publish("mnist", npz(x_train=np.full((4, 28, 28), np.nan)))
    assert "NaN" in unavailable("mnist", tmp_path / "data")[0]


def test_a_full_disk_is_an_answer_and_leaves_nothing(tmp_path, publish):
    publish("mnist", npz(x_train=images(10, 28, 28)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        message, _ = unavailable("mnist", tmp_path / "data")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "File too large" in message


def test_folders_that_cannot_be_written_do_not_matter(tmp_path, publish, monkeypatch):
    publish("mnist", MNIST)
    (tmp_path / "file").touch()
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    arrays, _ = download.find_named("mnist", tmp_path / "file" / "data")
    assert_mnist(arrays)
    assert (tmp_path / "file").is_file()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_files_and_hashes_are_those_of_keras(name):
    folder = Path(importlib.util.find_spec("keras").origin).parent / "src" / "datasets"
    source = (folder / f"{name}.py").read_text()
    for path, url in download._FILES[name].items():
        directory, _, file = url.rpartition("/")
        assert f'"{url}"' in source or (f'"{directory}/"' in source and file in source)
        assert path.split("/")[0].removesuffix("_archive") in source
        assert name == "fashion_mnist" or f'"{download._SHA256[path]}"' in source


# Keras' cache


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Write a file into Keras' cache."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))

    def write(name, content):
        [path] = download._FILES[name]
        (tmp_path / "keras" / "datasets").mkdir(parents=True)
        (tmp_path / "keras" / "datasets" / path).write_bytes(content)
        return tmp_path / "keras" / "datasets" / path

    return write


def test_a_cached_file_comes_before_the_network(tmp_path, publish, server, cached):
    publish("mnist", MNIST)
    path = cached("mnist", MNIST)
    arrays, source = download.find_named("mnist", tmp_path / "data")
    assert source == "Keras' cache" and server.asked == []
    assert_mnist(arrays)
    assert path.read_bytes() == MNIST
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mnist.npz"]


def test_a_foreign_file_in_keras_cache_survives(tmp_path, cached):
    """Keras itself deletes a cached file whose hash it does not know, and then downloads."""
    content = npz(x_train=images(20, 28, 28), y_train=np.arange(20) % 10)
    path = cached("mnist", content)
    message, _ = unavailable("mnist", tmp_path / "data")
    assert f"Keras' cache failed ('{path}': damaged, or not the published file" in message
    assert "refused" in message
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]


def test_the_network_helps_if_the_cached_file_is_damaged(tmp_path, publish, cached):
    publish("mnist", MNIST)
    path = cached("mnist", MNIST[:-1])
    arrays, source = download.find_named("mnist", tmp_path / "data")
    assert source == "keras.datasets download" and path.read_bytes() == MNIST[:-1]
    assert_mnist(arrays)


def test_a_cached_archive_of_cifar10_is_verified_before_it_is_unpickled(tmp_path, cached):
    cached("cifar10", b"cos\nsystem\n(S'true'\ntR.")
    message, _ = unavailable("cifar10", tmp_path / "data", download=False)
    assert "damaged, or not the published file (sha256)" in message
