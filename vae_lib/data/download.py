"""Where a named data set comes from: the system, Keras' cache, or the network.

A data set is a dictionary of the arrays `x_train` and `x_test`, uint8 (n, height, width, channels), and
`y_train` and `y_test`, int64 (n,). Files that are found are never changed or deleted.
"""

import gzip
import hashlib
import logging
import math
import os
import pickle
import struct
import tarfile
import tempfile
import textwrap
import time
import warnings
import zlib
from contextlib import suppress
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vae_lib.data.npz import Arrays, checked, read_npz
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import atomic_write, sha256_of

logger = logging.getLogger(__name__)

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
STALL_SECONDS = 10.0  # longest silence of the network

# Name of the array: (file without -ubyte.gz, SHA-256 of the unpacked file).
_FASHION_MNIST = {
    "x_train": ("train-images-idx3", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "y_train": ("train-labels-idx1", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "x_test": ("t10k-images-idx3", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "y_test": ("t10k-labels-idx1", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}

# The files of keras.datasets: path in its cache, and URL.
_KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_FASHION_FILES = [f"{stem}-ubyte.gz" for stem, _ in _FASHION_MNIST.values()]
_FILES = {
    "mnist": {"mnist.npz": _KERAS + "mnist.npz"},
    "fashion_mnist": {f"fashion-mnist/{file}": _KERAS + file for file in _FASHION_FILES},
    "cifar10": {
        "cifar-10-batches-py-target_archive": "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    },
}
_SHA256 = {
    "mnist.npz": "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    "cifar-10-batches-py-target_archive": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
}


class UnavailableError(InputError):
    """A data set was found nowhere; no file of your own is at fault."""


def find_named(name: str, data_dir: Path, *, download: bool = True) -> tuple[Arrays, str]:
    """Get `mnist`, `fashion_mnist` or `cifar10` from the system, Keras' cache or the network, in this order.

    What comes from Keras' cache or the network is kept as `<data_dir>/<name>.npz` if that can be written.

    Args:
        name: One of the three names.
        data_dir: Folder of your own data.
        download: Whether the network may be used, for at most VAE_DOWNLOAD_TIMEOUT seconds (300).

    Returns:
        The arrays, and a phrase that says where they came from.

    Raises:
        UnavailableError: If no place has it. The message lists what was tried and what to do.
        InputError: If Debian's files are damaged, or VAE_DOWNLOAD_TIMEOUT is not a positive number.
    """
    tried = [f"no {name}.npz and no folder {name}/ in {str(data_dir)!r}"]
    if name == "fashion_mnist":
        if DEBIAN_FASHION_MNIST.is_dir():
            return read_fashion_mnist(DEBIAN_FASHION_MNIST), "Debian package dataset-fashion-mnist"
        tried.append("Debian's dataset-fashion-mnist is not installed")
    cache = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")) / "datasets"
    limit = _time_limit()
    routes = []
    if all((cache / path).is_file() for path in _FILES[name]):
        routes.append(("Keras' cache", lambda: _read(name, cache)))
    else:
        tried.append("nothing in Keras' cache")
    if download:
        routes.append(("keras.datasets download", lambda: _download(name, limit)))
    else:
        tried.append("downloading is switched off")
    for source, get in routes:
        try:
            arrays = get()
        except (OSError, ValueError) as error:
            tried.append(f"{source} failed ({error})")
            continue
        _keep(arrays, data_dir / f"{name}.npz")
        return arrays, source
    raise UnavailableError(
        f"{name} is not available: {'; '.join(tried)}. Put {name}.npz into {str(data_dir)!r}"
        + (", or run `apt-get install dataset-fashion-mnist`" if name == "fashion_mnist" else "")
        + ", or use an embedded set: digits, sprites, color_sprites; a study takes one with --stand_ins"
    )


def read_fashion_mnist(folder: Path) -> Arrays:
    """Read and verify the four original files of Fashion-MNIST.

    Raises:
        InputError: If a file is missing, truncated or not the original.
    """
    arrays = {}
    for key, (stem, sha256) in _FASHION_MNIST.items():
        path = folder / f"{stem}-ubyte.gz"
        try:
            payload = gzip.decompress(path.read_bytes())
            if hashlib.sha256(payload).hexdigest() != sha256:
                raise ValueError("its content is not the published one (sha256)")
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise InputError(
                f"{str(path)!r}: not the Fashion-MNIST file: {type(error).__name__}: {error}; "
                "run `apt-get install --reinstall dataset-fashion-mnist`"
            ) from error
        if key.startswith("x"):
            arrays[key] = np.frombuffer(payload, np.uint8, offset=16).reshape(-1, 28, 28, 1)
        else:
            arrays[key] = np.frombuffer(payload, np.uint8, offset=8).astype(np.int64)
    return arrays


def verify_fashion_mnist(arrays: Arrays, where: str) -> None:
    """Check that arrays are the published Fashion-MNIST, by the hashes of the files they would make.

    Raises:
        InputError: If an array is missing or differs.
    """
    for key, (_, sha256) in _FASHION_MNIST.items():
        values = arrays.get(key, np.empty(0))
        magic, shape = (2051, values.shape[:3]) if key.startswith("x") else (2049, values.shape)
        header = struct.pack(f">{1 + len(shape)}I", magic, *shape)
        if hashlib.sha256(header + values.astype(np.uint8).tobytes()).hexdigest() != sha256:
            raise InputError(
                f"{where}: its {key} is not the published Fashion-MNIST (sha256); if it is your own data, "
                "rename the file and give its path"
            )


def _read(name: str, folder: Path) -> Arrays:
    """Read and verify a data set from its files in a folder, which is arranged like Keras' cache."""
    if name == "fashion_mnist":
        return read_fashion_mnist(folder / "fashion-mnist")
    [path] = (folder / path for path in _FILES[name])
    if sha256_of(path) != _SHA256[path.name]:
        raise InputError(f"{str(path)!r}: damaged, or not the published file (sha256)")
    return checked(read_npz(path), repr(str(path)))[0] if name == "mnist" else _read_cifar10(path)


def _read_cifar10(archive: Path) -> Arrays:
    """Read the verified archive of CIFAR-10; only since it is verified may its pickles be loaded."""
    batches, arrays = {}, {}
    with tarfile.open(archive) as tar:
        for member in tar:
            if "_batch" in member.name:
                content = pickle.load(tar.extractfile(member), encoding="bytes")
                batches[member.name.rsplit("/", 1)[-1]] = content
    for part, names in (("train", [f"data_batch_{i}" for i in range(1, 6)]), ("test", ["test_batch"])):
        pixels = np.concatenate([batches[name][b"data"] for name in names]).reshape(-1, 3, 32, 32)
        arrays[f"x_{part}"] = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
        arrays[f"y_{part}"] = np.concatenate([batches[name][b"labels"] for name in names])
    return arrays


class _Progress(tqdm):
    """A bar on a terminal only, which notes when data arrived and ends a download that is given up."""

    def __init__(self, url: str) -> None:
        super().__init__(desc=url.rsplit("/", 1)[-1], unit="B", unit_scale=True, disable=None)
        self.last_data, self.closed = time.monotonic(), False

    def __bool__(self) -> bool:
        return True  # pooch asks whether there is a bar; tqdm would say whether it has a total

    def update(self, n: int = 1) -> None:
        if self.closed:
            raise OSError("given up")
        self.last_data = time.monotonic()
        super().update(n)

    def close(self) -> None:
        self.closed = True
        super().close()


def _download(name: str, limit: float) -> Arrays:
    """Download, verify and read a data set within `limit` seconds.

    pooch works in a thread that can be given up, since its own time-outs do not cover a name server that
    never answers, headers without end or a slow body.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm's, in a notebook without ipywidgets
        import pooch
    pooch.get_logger().setLevel(logging.WARNING)
    logger.info("downloading %s, at most %g s", name, limit)
    deadline = time.monotonic() + limit
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ThreadPool(1) as pool:
        for path, url in _FILES[name].items():
            with _Progress(url) as progress:
                arguments = (url, _SHA256.get(path), path, folder, None, pooch.HTTPDownloader(progress))
                fetched = pool.apply_async(pooch.retrieve, arguments)
                while not fetched.ready():
                    if time.monotonic() > deadline:
                        raise OSError(f"stopped after {limit:g} s; VAE_DOWNLOAD_TIMEOUT sets another limit")
                    if time.monotonic() > progress.last_data + STALL_SECONDS:
                        raise OSError(f"timed out: no data for {STALL_SECONDS:g} s")
                    fetched.wait(0.1)
            try:
                fetched.get()
            except Exception as error:
                while error.__context__:  # the cause: requests wraps it in up to three other errors
                    error = error.__context__
                raise OSError(textwrap.shorten(f"{type(error).__name__}: {error}", 200)) from None
        return _read(name, Path(folder))


def _keep(arrays: Arrays, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(target, lambda temporary: np.savez(temporary, **arrays))
    except OSError as error:
        logger.info("%s is not kept for the next time: %s", target, error)


def _time_limit() -> float:
    given = os.environ.get("VAE_DOWNLOAD_TIMEOUT", "300")
    with suppress(ValueError):
        if 0 < float(given) < math.inf:
            return float(given)
    raise InputError(
        f"VAE_DOWNLOAD_TIMEOUT: received {given!r}; give the longest download in seconds, such as 300"
    )
