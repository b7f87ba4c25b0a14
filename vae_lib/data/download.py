"""Where the pixels of a named data set come from: the system, Keras, or a package.

Every function gives the same dictionary: `x_train` and `x_test`, uint8 (n, height, width, channels), and,
where there are labels, `y_train` and `y_test`, int64 (n,). Nothing here shuffles or splits, and no file that
was found is ever changed or deleted.
"""

import gzip
import hashlib
import logging
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

from vae_lib.data import keras_download
from vae_lib.data.npz import Arrays, read_npz
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import sync

logger = logging.getLogger(__name__)

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
STALL_SECONDS = 10.0  # longest silence of the network
DOWNLOAD_SECONDS = 300.0  # longest download as a whole, unless VAE_DOWNLOAD_TIMEOUT says otherwise

# Name of the array: (file without -ubyte.gz, sha256 of the file after gunzip).
_FASHION_MNIST = {
    "x_train": ("train-images-idx3", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "y_train": ("train-labels-idx1", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "x_test": ("t10k-images-idx3", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "y_test": ("t10k-labels-idx1", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}

# What keras.datasets keeps under KERAS_HOME/datasets.
_KERAS_FILES = {
    "mnist": ("mnist.npz",),
    "fashion_mnist": tuple(f"fashion-mnist/{stem}-ubyte.gz" for stem, _ in _FASHION_MNIST.values()),
    "cifar10": ("cifar-10-batches-py-target_archive",),
}

# Where keras.datasets downloads from.
_KERAS_SERVERS = {
    "mnist": "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "fashion_mnist": "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
}


class UnavailableError(InputError):
    """A data set is in none of the places where it was looked for; nothing that was found is at fault."""


def find_named(
    name: str, data_dir: Path, *, download: bool = True, timeout: float | None = None
) -> tuple[Arrays, str]:
    """Get `mnist`, `fashion_mnist` or `cifar10` from the system, Keras' cache or the network, in this order.

    What Keras gives is kept as `<data_dir>/<name>.npz`, or only in memory where that cannot be written.

    Args:
        name: One of the three names.
        data_dir: Where the user's own data lies.
        download: Whether the network may be used.
        timeout: Longest download in seconds; None takes VAE_DOWNLOAD_TIMEOUT, or else 300.

    Returns:
        The arrays, and a phrase that says where they came from.

    Raises:
        UnavailableError: If none of them has it. The message names what was tried and what to do.
        InputError: If a file that was found is damaged, or VAE_DOWNLOAD_TIMEOUT is no positive number.
    """
    tried = [f"no {name}.npz and no folder {name}/ in {str(data_dir)!r}"]
    if name == "fashion_mnist":
        if DEBIAN_FASHION_MNIST.is_dir():
            return read_fashion_mnist(DEBIAN_FASHION_MNIST), "Debian package dataset-fashion-mnist"
        tried.append("Debian's dataset-fashion-mnist is not installed")
    limit = _download_seconds(timeout)
    cached = _in_keras_cache(name)
    tried += [] if cached else ["nothing in Keras' cache"]
    tried += [] if download else ["downloading is switched off"]
    routes = [("Keras' cache", cached)] if cached else []
    routes += [("keras.datasets download", [])] if download else []
    for source, files in routes:
        try:
            return _run_keras(name, data_dir, files, limit), source
        except _KerasError as error:
            tried.append(f"{source} failed ({error})")
    raise UnavailableError(
        f"{name} cannot be had: {'; '.join(tried)}. Put {name}.npz into {str(data_dir)!r}"
        + (", or run `apt-get install dataset-fashion-mnist`" if name == "fashion_mnist" else "")
        + ", or use an embedded set: digits, sprites, color_sprites"
    )


def digits() -> tuple[Arrays, str]:
    """Scikit-learn's 1,797 handwritten digits, 8x8; their 17 grey levels are spread over 0 to 255."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., None]
    return {"x_train": pixels, "y_train": data.target.astype(np.int64)}, "embedded digits (scikit-learn)"


def read_fashion_mnist(folder: Path) -> Arrays:
    """Read and verify the four original idx files of Fashion-MNIST.

    Raises:
        InputError: If a file is missing, truncated or not the original.
    """
    arrays = {}
    for key, (stem, sha256) in _FASHION_MNIST.items():
        path = folder / f"{stem}-ubyte.gz"
        payload = _gunzip(path)
        magic, ndim = (2051, 3) if key.startswith("x") else (2049, 1)
        start = 4 + 4 * ndim  # bytes of the header: the magic number and one count for each axis
        found, *shape = struct.unpack(f">{1 + ndim}I", payload[:start].ljust(start, b"\0"))
        if found != magic:
            raise _bad_idx(path, f"magic number {found} instead of {magic}")
        if len(payload) - start != math.prod(shape):
            raise _bad_idx(path, f"{len(payload) - start:,} bytes of data for the header's shape {shape}")
        if hashlib.sha256(payload).hexdigest() != sha256:
            raise _bad_idx(path, "its content is not the published one (sha256)")
        values = np.frombuffer(payload, np.uint8, offset=start).reshape(shape)
        arrays[key] = values[..., None] if ndim == 3 else values.astype(np.int64)
    return arrays


def _gunzip(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise _bad_idx(path, f"{type(error).__name__}: {error}") from error


def _bad_idx(path: Path, what: str) -> InputError:
    return InputError(
        f"{str(path)!r}: not the Fashion-MNIST file: {what}; "
        "run `apt-get install --reinstall dataset-fashion-mnist`"
    )


def verify_fashion_mnist(arrays: Arrays, where: str) -> None:
    """Check that arrays are the published Fashion-MNIST, by the hashes of the idx files they would make.

    Raises:
        InputError: If an array is missing or differs.
    """
    for key, (_, sha256) in _FASHION_MNIST.items():
        values = arrays.get(key, np.empty(0))
        magic, shape = (2051, values.shape[:3]) if key.startswith("x") else (2049, values.shape)
        header = struct.pack(f">{1 + len(shape)}I", magic, *shape)
        if hashlib.sha256(header + values.astype(np.uint8).tobytes()).hexdigest() != sha256:
            raise InputError(
                f"{where}: its {key} is not the published Fashion-MNIST (sha256); if it is a data set "
                "of your own, rename the file and give its path"
            )


class _KerasError(Exception):
    """Keras could not give the data set; the message is one line."""


def _in_keras_cache(name: str) -> list[Path]:
    """The files of a data set in the user's own Keras cache; empty unless all are there."""
    home = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")) / "datasets"
    files = [home / file for file in _KERAS_FILES[name]]
    return files if all(file.is_file() for file in files) else []


def _run_keras(name: str, data_dir: Path, cached: list[Path], limit: float) -> Arrays:
    """Let keras.datasets load a data set, from copies of cached files or from the network.

    Keras always gets a temporary home: it deletes a file whose hash is wrong, and leaves half a file where it
    is killed. That must not happen to the user's own cache.
    """
    with _work_dir(data_dir) as folder:
        work = Path(folder).resolve()
        result = work / "result.npz"
        environment = os.environ | {
            "KERAS_HOME": str(work),
            "KERAS_BACKEND": "tensorflow",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "RES_OPTIONS": "timeout:3 attempts:1",  # glibc: the stall limit of a name server
        }
        command = [sys.executable, "-P", keras_download.__file__]
        arguments = [name, str(result), str(STALL_SECONDS), "" if cached else _KERAS_SERVERS[name]]
        if not cached:
            logger.info("downloading %s with keras.datasets, at most %g s", name, limit)
        try:
            for file, copy in zip(cached, _KERAS_FILES[name], strict=False):
                (work / "datasets" / copy).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, work / "datasets" / copy)
            subprocess.run(
                command + arguments,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=limit,
                check=True,
            )
        except OSError as error:
            raise _KerasError(str(error)) from None
        except subprocess.TimeoutExpired:
            raise _KerasError(f"stopped after {limit:g} s; VAE_DOWNLOAD_TIMEOUT sets another limit") from None
        except subprocess.CalledProcessError as error:
            lines = error.stderr.decode(errors="replace").strip().splitlines()
            raise _KerasError(lines[-1][:200] if lines else f"exit code {error.returncode}") from None
        arrays = read_npz(result)
        if name == "fashion_mnist":  # the one data set that Keras does not verify
            try:
                verify_fashion_mnist(arrays, "what Keras gave")
            except InputError as error:
                raise _KerasError(str(error).split(";")[0]) from None
        _keep(result, data_dir / f"{name}.npz")
    return arrays


def _work_dir(data_dir: Path) -> tempfile.TemporaryDirectory:
    """A folder that disappears again, beside the result's own place where that can be written."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir)
    except OSError:
        return tempfile.TemporaryDirectory(prefix="vae_lib-download-")


def _keep(result: Path, target: Path) -> None:
    """Move a complete file to its place, where there is one that can be written."""
    try:
        sync(result)
        os.replace(result, target)
    except OSError as error:
        logger.info("%s is not kept for the next time: %s", target, error)


def _download_seconds(timeout: float | None) -> float:
    given = os.environ.get("VAE_DOWNLOAD_TIMEOUT", DOWNLOAD_SECONDS) if timeout is None else timeout
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InputError(
            f"VAE_DOWNLOAD_TIMEOUT: received {given!r}; give the longest download in seconds, such as 300"
        )
    return seconds
