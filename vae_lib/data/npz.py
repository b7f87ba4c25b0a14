"""Images and labels as arrays, such as those of an .npz file: what their numbers may mean."""

from pathlib import Path

import numpy as np

from vae_lib.data.pixel_range import MAX_VALUE, range_note, to_bytes, white_level
from vae_lib.utils.errors import InputError

Arrays = dict[str, np.ndarray]
_KEYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: Path) -> Arrays:
    """Read `x_train`, `y_train`, `x_test` and `y_test` from an .npz, or `x_train` from an .npy, unchecked.

    Raises:
        InputError: If the file is damaged or holds pickled objects.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                return {"x_train": archive}
            return {key: archive[key] if key in _KEYS else None for key in archive.files}
    except Exception as error:  # a damaged archive raises many types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{str(path)!r}: cannot be read: {reason}; write it again with np.savez and plain arrays"
        ) from error


def checked(arrays: Arrays, where: str) -> tuple[Arrays, str]:
    """Convert images to uint8 (n, height, width, channels) and labels to int64 (n,); drop other keys.

    Pixels may be floats in [0, 1], whole-numbered floats up to 255, or integers up to 65535, of which
    `pixel_range` says how they become 0 to 255. All images of a set have one range.

    Args:
        arrays: `x_train` and, if present, `y_train`, `x_test`, `y_test`. Images of shape (n, height, width)
            get a channel axis.
        where: Where they come from, for messages.

    Returns:
        The arrays, and what is to be known of their range, for the data set's `source`.

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
    images = {key: _with_channels(f"{where}: {key}", arrays[key]) for key in _KEYS[::2] if key in arrays}
    result, notes = {}, ""
    for floats in (True, False):
        alike = {key: values for key, values in images.items() if (values.dtype.kind == "f") == floats}
        if alike:
            pixels, note = _to_pixels(where, alike, floats)
            result, notes = result | pixels, notes + note
    for x, y in (_KEYS[:2], _KEYS[2:]):
        if x in arrays and y in arrays:
            result[y] = _to_labels(f"{where}: {y}", arrays[y], len(result[x]))
    train, test = result["x_train"].shape, result.get("x_test", result["x_train"]).shape
    if train[1:] != test[1:]:
        raise InputError(
            f"{where}: x_train and x_test have shapes {train} and {test}; give them one image shape"
        )
    return result, notes


def _with_channels(what: str, values: np.ndarray) -> np.ndarray:
    """Return images as (n, height, width, channels), or raise an error if these are no images."""
    if values.ndim not in (3, 4) or 0 in values.shape or (values.ndim == 4 and values.shape[3] > 4):
        raise InputError(
            f"{what}: shape {values.shape}; give (n, height, width) or, with the 1 to 4 channels last, "
            "(n, height, width, channels)"
        )
    if values.ndim == 3 and values.shape[2] <= 4:
        raise InputError(
            f"{what}: shape {values.shape} is that of one image; give (n, height, width, channels), here (1, "
            f"{', '.join(map(str, values.shape))})"
        )
    if values.dtype.kind not in "uif":
        raise InputError(f"{what}: dtype {values.dtype}; give uint8 pixels from 0 to 255")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = int(np.size(values) - np.isfinite(values).sum())
        raise InputError(f"{what}: {count:,} values are NaN or infinite; remove or repair those images")
    return values if values.ndim == 4 else values[..., None]


def _to_pixels(where: str, images: Arrays, floats: bool) -> tuple[Arrays, str]:
    """Convert images, all floats or all integers, to uint8 by their common range, with a note on it."""
    low, high = min(x.min().item() for x in images.values()), max(x.max().item() for x in images.values())
    clear, white, note = high <= MAX_VALUE, white_level(high), range_note(high)
    if floats:
        clear, white, note = high <= 1, 1, ""
        if 127 < high <= 255:  # whole numbers that stop at, say, 16 have a scale of their own
            clear, white = all(np.array_equal(x, np.rint(x)) for part in images.values() for x in part), 255
        elif 255 * high < 64:
            note = f", no value above {255 * high:.0f} of 255"
    if low < 0 or not clear:
        kinds = " and ".join({str(values.dtype): None for values in images.values()})
        raise InputError(
            f"{where}: {' and '.join(images)}: ambiguous range, min {low:g}, max {high:g}, dtype {kinds}; "
            "save uint8 pixels from 0 to 255"
        )
    return {key: to_bytes(values, white) for key, values in images.items()}, note


def _to_labels(what: str, values: np.ndarray, n: int) -> np.ndarray:
    fits = values.shape in ((n,), (n, 1)) and values.dtype.kind in "ui"
    if not fits or values.min() < 0 or values.max() > 9999:
        raise InputError(
            f"{what}: {values.dtype} labels of shape {values.shape}; "
            f"give {n:,} integers from 0 to at most 9999, one for each image"
        )
    return values.reshape(n).astype(np.int64)
