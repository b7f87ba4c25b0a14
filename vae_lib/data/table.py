"""Images and labels from a CSV table, as competitions give them: one image a row, one pixel a column."""

import re
import warnings
from math import isqrt
from pathlib import Path

import numpy as np

from vae_lib.data.npz import Arrays
from vae_lib.utils.errors import InputError


def read_csv(path: Path) -> Arrays:
    """Read square grey images as `x_train` and, if a column is called `label`, `y_train`, unchecked.

    The first line names the columns, such as `label,pixel0,pixel1,...`; the pixels are row by row, in the
    order of their numbers if their names are one word with numbers, else in that of the columns.

    Raises:
        InputError: If the file is no such table, or the images are not square.
    """
    try:
        with path.open(encoding="utf-8-sig") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a table without rows
            names = [name.strip().strip("\"'").lower() for name in file.readline().split(",")]
            values = np.loadtxt(file, np.float32, delimiter=",", ndmin=2)
        if all(name.replace(".", "", 1).isdigit() for name in names):
            raise ValueError("the first line holds numbers, and not the names of the columns")
        if not values.size:
            raise ValueError("no rows below the names of the columns")
        if values.shape[1] != len(names):
            raise ValueError(f"{len(names):,} names of columns, but {values.shape[1]:,} values in a row")
        pixels = values[:, _pixel_columns(names)]
        side = isqrt(pixels.shape[1])
        if side**2 != pixels.shape[1] or not side:
            raise ValueError(f"{pixels.shape[1]:,} pixels are no square image")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{str(path)!r}: cannot be read: {' '.join(str(error).split())}; give a table with the columns "
            "label,pixel0,pixel1,..., or np.savez('images.npz', x_train=images, y_train=labels)"
        ) from error
    arrays = {"x_train": pixels.reshape(-1, side, side)}
    if "label" in names:
        arrays["y_train"] = values[:, names.index("label")]
    return {key: _as_integers(values) for key, values in arrays.items()}


def _pixel_columns(names: list[str]) -> list[int]:
    """Return the places of the columns of pixels, in the order of the pixels."""
    places = [i for i, name in enumerate(names) if name != "label"]
    words = [re.fullmatch(r"(.*?)(\d+)", names[i]) for i in places]
    if all(words) and len({word[1] for word in words}) == 1:
        places = [i for _, i in sorted((int(word[2]), i) for word, i in zip(words, places, strict=True))]
    return places


def _as_integers(values: np.ndarray) -> np.ndarray:
    whole = np.isfinite(values).all() and np.array_equal(values, np.rint(values))
    return values.astype(np.int64) if whole else values
