"""Arrays of any framework: images, reconstructions and codes under one set of names and in one layout."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vae_lib.utils.errors import InputError

NAMES = {
    "x": "x images inputs data x_test x_val x_train",
    "reconstruction": "reconstruction reconstructions recon recons recon_x x_recon x_hat decoded outputs",
    "z_mean": "z_mean mu mean z_mu means",
    "z_log_var": "z_log_var log_var logvar z_logvar log_variance",
}
MEANING = {alias: name for name, aliases in NAMES.items() for alias in aliases.split()}
_REMEDY = "save them with np.savez('arrays.npz', x=..., reconstruction=..., z_mean=..., z_log_var=...)"


def read_arrays(source: Path | str | Mapping) -> dict[str, np.ndarray]:
    """Return those of `x`, `reconstruction`, `z_mean`, `z_log_var` that there are, of the same images.

    Integers above 1 are grey levels, and divided by 255; floats stay as they are. Images get their channels
    last; a reconstruction takes the shape of x; latents of any layout become (n, latents).

    Args:
        source: An .npz file, or arrays by name.

    Raises:
        InputError: If the file is damaged, no array is known, or shapes or types do not fit.
    """
    named = _read_npz(Path(source)) if isinstance(source, str | Path) else source
    where = repr(str(source)) if isinstance(source, str | Path) else "arrays"
    arrays: dict[str, np.ndarray] = {}
    for key, values in named.items():
        name = MEANING.get(key.lower())
        if name and name not in arrays:
            arrays[name] = _numbers(values, f"{where}: {key}")
    if not arrays:
        raise InputError(f"{where}: no array of a known name among {list(named)[:12]}: {_REMEDY}")
    shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
    if len({len(array) for array in arrays.values()}) > 1:
        raise InputError(f"{where}: {shapes}: they must be of the same images, in the same order")
    for pair in (("x", "reconstruction"), ("z_mean", "z_log_var")):
        sizes = {arrays[name].size for name in pair if name in arrays}
        if len(sizes) > 1:
            raise InputError(f"{where}: {shapes}: {' and '.join(pair)} must have one shape")
    for name in ("z_mean", "z_log_var"):
        if name in arrays:
            arrays[name] = arrays[name].reshape(len(arrays[name]), -1)
    images = [name for name in ("x", "reconstruction") if name in arrays]
    shapes = [arrays[name].shape for name in images if arrays[name].ndim == 4]
    for name in images:  # rows of pixels have the order of the images beside them
        flat = shapes and arrays[name].ndim == 2
        arrays[name] = _channels_last(arrays[name].reshape(shapes[0] if flat else arrays[name].shape))
    if len(images) == 2:
        arrays["reconstruction"] = arrays["reconstruction"].reshape(arrays["x"].shape)
    return arrays


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if name.lower() in MEANING} or {
                name: None for name in archive.files
            }
    except Exception as error:  # a damaged archive raises many types
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{str(path)!r}: cannot be read: {reason}; {_REMEDY}") from None


def _numbers(values, where: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "uifb" or array.ndim < 2 or not array.size:
        raise InputError(
            f"{where}: {array.dtype} of shape {array.shape}; give numbers, one row an image: {_REMEDY}"
        )
    if array.dtype.kind in "ui" and array.max() > 1:
        return array.astype("float32") / 255
    return array.astype("float32")


def _channels_last(images: np.ndarray) -> np.ndarray:
    first = images.ndim == 4 and images.shape[1] in (1, 3, 4) and images.shape[3] not in (1, 3, 4)
    return np.moveaxis(images, 1, -1) if first else images
