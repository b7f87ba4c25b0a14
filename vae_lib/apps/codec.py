"""Lossless compression of images by a trained model: a file of as many bytes as the ELBO says."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tensorflow as tf

from vae_lib.apps.archive import Header, read_archive, write_archive
from vae_lib.apps.bits_back import BitsBack
from vae_lib.models.vae import VAE
from vae_lib.training.run import Run
from vae_lib.utils.errors import InputError
from vae_lib.utils.extras import require
from vae_lib.utils.files import ensure_writable
from vae_lib.utils.runtime import processor, thread_count


def compress(
    run_or_vae: Run | VAE,
    x: np.ndarray,
    path: Path | str,
    names: Sequence[str] | None = None,
    check: bool = True,
) -> int:
    """Write images into a file that `decompress` reads with the same model, on a machine that computes alike.

    Args:
        run_or_vae: The model: 8-bit likelihood, no labels, prior N(0, I), flat or hierarchical.
        x: Images, uint8 (n, h, w, c).
        path: A new file.
        names: A relative path for each image, ending in `.png`; None takes `0.png`, ...
        check: Whether to decompress the bits again before the file is written.

    Returns:
        Bytes of the file.

    Raises:
        InputError: If the model has no code for these images, a name is not allowed, the file is there
            already or cannot be written, or the bits do not give the images again.
    """
    require("compression", "codec", "constriction")
    path = Path(path)
    if path.exists():
        raise InputError(f"{path} is there already, and is not overwritten: choose another --out")
    ensure_writable(path.parent)
    vae = run_or_vae.model() if isinstance(run_or_vae, Run) else run_or_vae
    coder, x = BitsBack(vae), vae.check_images(x)
    if x.dtype != np.uint8:
        raise InputError(f"images must be uint8, whose pixels are kept as they are; received {x.dtype}")
    digits = len(str(len(x) - 1))
    names = [f"{i:0{digits}}.png" for i in range(len(x))] if names is None else names
    if len(names) != len(x):
        raise InputError(f"{len(names):,} names for {len(x):,} images: give one for each")
    header = Header(
        run=getattr(run_or_vae, "directory", Path()).name,
        model=_hash_of(vae),
        machine=_machine(),
        shape=vae.image_shape,
        pixels=_sha256(x),
        names=tuple(names),
    )
    with tf.device("CPU:0"):
        words, first_bits = coder.push(x)
        header = replace(header, arithmetic=coder.arithmetic(), first_bits=first_bits)
        if check and _sha256(coder.pop(words, len(x), first_bits)) != header.pixels:
            raise InputError("this machine does not compute the same twice: no file was written")
    return write_archive(path, header, words)


def decompress(path: Path | str, run_or_vae: Run | VAE) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the images of a file, uint8 (n, h, w, c), and their names: exactly those that it was made of.

    Args:
        path: The file.
        run_or_vae: The model that it was made with.

    Raises:
        InputError: If the file is damaged, was made with another model, or on a machine whose arithmetic
            differs: never are pixels returned that are not the original ones.
    """
    require("decompression", "codec", "constriction")
    header, words = read_archive(Path(path))
    vae = run_or_vae.model() if isinstance(run_or_vae, Run) else run_or_vae
    if header.model != _hash_of(vae):
        made = f" {header.run!r}" if header.run else ""
        raise InputError(f"{path} was made with another model than the one given: take the run{made}")
    coder = BitsBack(vae)
    with tf.device("CPU:0"):
        if header.arithmetic != coder.arithmetic():
            raise InputError(
                f"{path} was made by a machine whose results differ from those of this one in the last bits "
                f"({_differences(header.machine)}): decompress it on such a machine"
            )
        try:
            x = coder.pop(words, len(header.names), header.first_bits)
        except (InputError, KeyError):  # a symbol that the coder's distribution lacks
            x = np.empty(0)
    if _sha256(x) != header.pixels:
        raise InputError(
            f"{path}: the pixels do not fit their checksum, and are not kept: the file is damaged, or was "
            f"made by a machine that computes otherwise ({_differences(header.machine)})"
        )
    return x, header.names


def _hash_of(vae: VAE) -> str:
    """Return the hash of what determines a model's results: its arguments and weights."""
    digest = hashlib.sha256(json.dumps([type(vae).__name__, vae.arguments], sort_keys=True).encode())
    for weight in vae.trainable_variables:
        digest.update(np.asarray(weight, "<f4").tobytes())
    return digest.hexdigest()


def _sha256(x: np.ndarray) -> str:
    return hashlib.sha256(x.tobytes()).hexdigest()


def _machine() -> dict[str, str]:
    """Return what results may depend on, to tell two machines apart."""
    versions = {name: version(name) for name in ("constriction", "keras", "numpy", "tensorflow")}
    return {"processor": processor(), "threads": str(thread_count()), **versions}


def _differences(there: dict[str, str]) -> str:
    """Return how the machine that made a file differs from this one."""
    here = _machine()
    found = [f"{name} {there.get(name)}, here {here[name]}" for name in here if there.get(name) != here[name]]
    return "; ".join(found) or "the same processor and programs, set otherwise"
