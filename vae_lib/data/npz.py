"""Images and labels from an .npz file: what its numbers may mean, and what is refused."""

from pathlib import Path

import numpy as np

from vae_lib.utils.errors import InputError

Arrays = dict[str, np.ndarray]
_KEYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: Path) -> Arrays:
    """Read `x_train` and, if present, `y_train`, `x_test`, `y_test` from an .npz; other keys are not read.

    Pixels may be integers from 0 to 255, floats in [0, 1], or whole-numbered floats up to 255. Ambiguous
    values are refused. Images of shape (n, height, width) get a channel axis.

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
    except Exception as error:  # a damaged archive raises many types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{str(path)!r}: cannot be read: {reason}; write it again with np.savez and plain arrays"
        ) from error
    return checked(arrays, repr(str(path)))


def checked(arrays: Arrays, where: str) -> Arrays:
    """Convert images to uint8 (n, height, width, channels) and labels to int64 (n,); drop other keys.

    Args:
        arrays: As in the file that `read_npz` reads.
        where: Where they come from, for messages.

    Raises:
        InputError: As for `read_npz`.
    """
    if "x_train" not in arrays:
        raise InputError(
            f"{where}: no array x_train, found {sorted(arrays)}; save it with np.savez(..., x_train=images)"
        )
    if ("y_train" in arrays) != ("y_test" in arrays) and "x_test" in arrays:
        raise InputError(
            f"{where}: labels for one of x_train and x_test only; give both y_train and y_test, or none"
        )
    result = {}
    for x, y in (("x_train", "y_train"), ("x_test", "y_test")):
        if x in arrays:
            result[x] = _to_pixels(f"{where}: {x}", arrays[x])
        if x in arrays and y in arrays:
            result[y] = _to_labels(f"{where}: {y}", arrays[y], len(result[x]))
    train, test = result["x_train"].shape, result.get("x_test", result["x_train"]).shape
    if train[1:] != test[1:]:
        raise InputError(
            f"{where}: x_train and x_test have shapes {train} and {test}; give them one image shape"
        )
    return result


def _to_pixels(what: str, values: np.ndarray) -> np.ndarray:
    """Convert images to uint8 (n, height, width, channels), or raise an error that says what is unclear."""
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
    if values.dtype != np.uint8:
        given, values = values, np.empty(values.shape, np.uint8)
        for image, value in zip(values, given, strict=True):  # one at a time, to save memory
            image[...] = np.rint(value * 255.0) if unit else value
    return values if values.ndim == 4 else values[..., None]


def _to_labels(what: str, values: np.ndarray, n: int) -> np.ndarray:
    fits = values.shape in ((n,), (n, 1)) and values.dtype.kind in "ui"
    if not fits or values.min() < 0 or values.max() > 9999:
        raise InputError(
            f"{what}: {values.dtype} labels of shape {values.shape}; "
            f"give {n:,} integers from 0 to at most 9999, one for each image"
        )
    return values.reshape(n).astype(np.int64)
