"""Images and labels from an .npz file: what its numbers may mean, and what is refused."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from vae_lib.utils.errors import InputError

Arrays = dict[str, np.ndarray]
_KEYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: Path) -> Arrays:
    """Read `x_train` and, where present, `y_train`, `x_test`, `y_test` from an .npz; other keys are not read.

    Pixels may be integers from 0 to 255, floats in [0, 1], or whole-numbered floats up to 255. What could be
    meant in two ways is refused. Images of shape (n, height, width) get a channel axis.

    Raises:
        InputError: If the file is damaged or holds pickled objects, or an array is missing, has a wrong
            shape, or values that are not finite or whose range is ambiguous.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array, not an .npz archive")
            arrays = {key: archive[key] if key in _KEYS else None for key in archive.files}
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        RuntimeError,  # encrypted
        MemoryError,  # a header that claims more than there is room for
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(
            f"{str(path)!r}: cannot be read: {' '.join(str(error).split()) or type(error).__name__}; "
            "write it again with np.savez and plain arrays"
        ) from error
    return checked(arrays, repr(str(path)))


def checked(arrays: Arrays, where: str) -> Arrays:
    """Bring images to uint8 (n, height, width, channels) and labels to int64 (n,); other keys are dropped.

    Args:
        arrays: `x_train` and, where present, `y_train`, `x_test`, `y_test`.
        where: They come from, for messages.

    Raises:
        InputError: If an array is missing, has a wrong shape, or values that are not finite or whose range
            is ambiguous.
    """
    if "x_train" not in arrays:
        raise InputError(
            f"{where}: no array x_train, found {sorted(arrays)}; save it with np.savez(..., x_train=images)"
        )
    if ("y_train" in arrays) != ("y_test" in arrays) and "x_test" in arrays:
        raise InputError(
            f"{where}: labels for one of x_train and x_test only; give both y_train and y_test, or none"
        )
    images = {
        key: _to_pixels(f"{where}: {key}", arrays[key]) for key in ("x_train", "x_test") if key in arrays
    }
    if "x_test" in images and images["x_test"].shape[1:] != images["x_train"].shape[1:]:
        shapes = f"{images['x_train'].shape} and {images['x_test'].shape}"
        raise InputError(f"{where}: x_train and x_test have shapes {shapes}; give them one image shape")
    labels = {
        f"y_{part}": _to_labels(f"{where}: y_{part}", arrays[f"y_{part}"], len(images[f"x_{part}"]))
        for part in ("train", "test")
        if f"y_{part}" in arrays and f"x_{part}" in images
    }
    return images | labels


def _to_pixels(what: str, values: np.ndarray) -> np.ndarray:
    """Bring an array of images to uint8 (n, height, width, channels), or say why its meaning is unclear."""
    if values.ndim not in (3, 4) or 0 in values.shape or (values.ndim == 4 and values.shape[3] > 4):
        raise InputError(
            f"{what}: shape {values.shape}; give (n, height, width) or, with the 1 to 4 channels last, "
            "(n, height, width, channels)"
        )
    if values.dtype.kind not in "uif":
        raise InputError(f"{what}: dtype {values.dtype}; give uint8 pixels from 0 to 255")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = int(np.size(values) - np.isfinite(values).sum())
        raise InputError(f"{what}: {count:,} values are NaN or infinite; remove or repair those images")
    low, high = values.min(), values.max()
    unit = values.dtype.kind == "f" and low >= 0 and high <= 1
    levels = low >= 0 and high <= 255 and high != 1
    if values.dtype.kind == "f":  # whole numbers that stop at, say, 16 have a scale of their own
        levels = levels and high > 127 and all(np.array_equal(part, np.rint(part)) for part in values)
    if not (unit or levels):
        raise InputError(
            f"{what}: ambiguous range, min {low:g}, max {high:g}, dtype {values.dtype}; "
            "save uint8 pixels from 0 to 255"
        )
    pixels = values
    if values.dtype != np.uint8:
        pixels = np.empty(values.shape, np.uint8)
        for image, value in zip(pixels, values, strict=True):  # one at a time, for memory
            image[...] = np.rint(value * 255.0) if unit else value
    return pixels if pixels.ndim == 4 else pixels[..., None]


def _to_labels(what: str, values: np.ndarray, n: int) -> np.ndarray:
    if (
        values.shape not in ((n,), (n, 1))
        or values.dtype.kind not in "ui"
        or values.min() < 0
        or values.max() > 9999
    ):
        raise InputError(
            f"{what}: {values.dtype} labels of shape {values.shape}; "
            f"give {n:,} integers from 0 to at most 9999, one for each image"
        )
    return values.reshape(n).astype(np.int64)
