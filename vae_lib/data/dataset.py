"""ImageDataset: images in three disjoint parts, and how they are split."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from vae_lib.config import MAX_CHANNELS, MAX_SIDE, MIN_SIDE
from vae_lib.data.npz import Arrays, checked
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import safe_name

MIN_IMAGES = 3  # one each to train, validate and test


def fixed_permutation(n: int) -> np.ndarray:
    """Give one random order of n things, always the same one.

    The raw stream of a bit generator is used because NumPy promises never to change it.
    """
    return np.argsort(np.random.PCG64(0).random_raw(n), kind="stable")


def split_counts(n: int, *, val: bool = True, test: bool = True) -> tuple[int, int]:
    """How many of n training images to hold out for validation and for test.

    Test gets 10 %; validation gets 10 % of the rest, at most 5,000; what is not asked for gets none.
    """
    n_test = max(1, n // 10) if test else 0
    return min(5000, max(1, (n - n_test) // 10)) if val else 0, n_test


def split_rows(n: int, *, test: bool) -> dict[str, np.ndarray]:
    """Share n rows, in the fixed random order, among `test` (where it is asked for), `val` and `train`."""
    rows = fixed_permutation(n)
    n_val, n_test = split_counts(n, test=test)
    return {"train": rows[n_test + n_val :], "val": rows[n_test : n_test + n_val], "test": rows[:n_test]}


@dataclass(frozen=True, eq=False, repr=False)
class ImageDataset:
    """Images in three disjoint sets, with labels and generative factors where they are known.

    Training and validation images are in a fixed random order, and so are the test images of a folder, whose
    files come class by class; other test images are in their original order.

    Attributes:
        name: Short name, fit for a file name.
        source: Where the pixels came from, in a phrase for tables and captions.
        x_train: Images, uint8 (n, height, width, channels); so are `x_val`, `x_test`. May be memory-mapped.
        y_train: Labels, int64 (n,), or None; so are `y_val` and `y_test`.
        class_names: The name of each label; empty without labels.
        factors_train: Index of each factor's value, int64 (n, k), or None; so are the other two.
        factor_names: The name of each factor; empty without factors.
        pixels_sha256: Hash of the bytes of all images, where it is known already.
    """

    name: str
    source: str
    x_train: np.ndarray
    x_val: np.ndarray
    x_test: np.ndarray
    y_train: np.ndarray | None = None
    y_val: np.ndarray | None = None
    y_test: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    factors_train: np.ndarray | None = None
    factors_val: np.ndarray | None = None
    factors_test: np.ndarray | None = None
    factor_names: tuple[str, ...] = ()
    pixels_sha256: str | None = None

    def __post_init__(self) -> None:
        for part in ("train", "val", "test"):
            images = getattr(self, f"x_{part}")
            if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1:] != self.x_train.shape[1:]:
                raise InputError(
                    f"{self.name}: x_{part} is {images.dtype} of shape {images.shape}; give uint8 of shape "
                    "(n, height, width, channels), with one image shape for all three parts"
                )
            for values in (getattr(self, f"y_{part}"), getattr(self, f"factors_{part}")):
                if values is not None and len(values) != len(images):
                    raise InputError(
                        f"{self.name}: {len(values):,} labels or factors for the {len(images):,} images of "
                        f"{part}; give one for each image"
                    )

    def __repr__(self) -> str:
        counts = " + ".join(f"{len(x):,}" for x in (self.x_train, self.x_val, self.x_test))
        shape = "x".join(map(str, self.image_shape))
        return f"ImageDataset({self.name!r}, {counts} images of {shape}, source={self.source!r})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return self.x_train.shape[1:]

    def fingerprint(self) -> str:
        """Hash of shapes, pixels, labels and factors, as 64 hexadecimal digits; computed once."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        pixels = self.pixels_sha256 or _sha256(self.x_train, self.x_val, self.x_test)
        counts = [len(x) for x in (self.x_train, self.x_val, self.x_test)]
        labels = _sha256(self.y_train, self.y_val, self.y_test)
        factors = _sha256(self.factors_train, self.factors_val, self.factors_test)
        content = json.dumps([counts, self.image_shape, pixels, labels, factors])
        return hashlib.sha256(content.encode()).hexdigest()

    def images_and_labels(self, part: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Return x and y of `train`, `val` or `test`."""
        return getattr(self, f"x_{part}"), getattr(self, f"y_{part}")

    def describe(self) -> dict:
        """Return what a run's record says of its data, JSON-able."""
        return {
            "name": self.name,
            "source": self.source,
            "fingerprint": self.fingerprint(),
            "image_shape": list(self.image_shape),
            "n_classes": len(self.class_names),
            "class_names": list(self.class_names),
            "n_train": len(self.x_train),
            "n_val": len(self.x_val),
            "n_test": len(self.x_test),
        }

    def subset(
        self, n_train: int | None = None, n_val: int | None = None, n_test: int | None = None
    ) -> "ImageDataset":
        """Give a data set of the first images of each part: at most so many, all for None.

        Where nothing is left out, this is the data set itself, and so it keeps its fingerprint.

        Raises:
            InputError: If a number is below 1.
        """
        changes: dict = {"pixels_sha256": None}
        for part, n in (("train", n_train), ("val", n_val), ("test", n_test)):
            if n is not None and n < 1:
                raise InputError(f"n_{part}: received {n}; keep at least 1 image")
            for field in (f"x_{part}", f"y_{part}", f"factors_{part}"):
                values = getattr(self, field)
                changes[field] = None if values is None else values[:n]
        same = all(len(changes[x]) == len(getattr(self, x)) for x in ("x_train", "x_val", "x_test"))
        return self if same else replace(self, **changes)


def from_arrays(
    x_train: np.ndarray,
    y_train: np.ndarray | None = None,
    x_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    name: str = "arrays",
    class_names: Sequence[str] | None = None,
) -> ImageDataset:
    """Make a data set of one's own arrays.

    Ten per cent of the training images, at most 5,000, are held out for validation; without test images, ten
    per cent are held out before.

    Args:
        x_train: Images (n, height, width) or (n, height, width, channels): integers from 0 to 255, or floats
            in [0, 1].
        y_train: Labels, integers from 0, (n,), or None.
        x_test: Test images, or None.
        y_test: Their labels.
        name: Fit for a file name.
        class_names: The name of each label; None takes numbers.

    Raises:
        InputError: If an array has a wrong shape, or values whose meaning is unclear.
    """
    given = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    arrays = {key: np.asarray(values) for key, values in given.items() if values is not None}
    names = None if class_names is None else tuple(class_names)
    return _from_arrays(safe_name(Path(name)), "arrays in memory", checked(arrays, name), names)


def _from_arrays(name: str, source: str, arrays: Arrays, class_names: tuple[str, ...] | None) -> ImageDataset:
    """Split arrays `<field>_train` and, where there are any, `<field>_test` into the three parts."""
    n, height, width, channels = arrays["x_train"].shape
    low, high = MIN_SIDE, MAX_SIDE
    if not (low <= height <= high and low <= width <= high and channels <= MAX_CHANNELS):
        raise InputError(
            f"{name}: images of {height}x{width} with {channels} channels; the model takes sides of {low} to "
            f"{high} and 1 to {MAX_CHANNELS} channels: resize the arrays, or give a folder of images and "
            "--image_size"
        )
    has_test = "x_test" in arrays
    if n < (2 if has_test else MIN_IMAGES):
        raise InputError(f"{name}: {n} training images; give at least {2 if has_test else MIN_IMAGES}")
    rows = split_rows(n, test=not has_test)
    fields = {
        f"{field}_{part}": arrays[f"{field}_train"][rows[part]]
        for field in ("x", "y", "factors")
        for part in rows
        if f"{field}_train" in arrays
    }
    fields |= {key: values for key, values in arrays.items() if key.endswith("_test")}
    if "y_train" in arrays:
        n_classes = 1 + max(int(values.max()) for key, values in fields.items() if key.startswith("y"))
        fields["class_names"] = class_names or tuple(str(i) for i in range(n_classes))
        if n_classes > len(fields["class_names"]):
            known = len(fields["class_names"])
            raise InputError(f"{name}: a label is {n_classes - 1}; {name} has the labels 0 to {known - 1}")
    return ImageDataset(name=name, source=source, **fields)


def _sha256(*arrays: np.ndarray | None) -> str:
    """Hash the bytes of arrays one after the other, in pieces, so that a memory map is never copied whole."""
    digest = hashlib.sha256()
    for array in arrays:
        for start in range(0, 0 if array is None else len(array), 4096):
            digest.update(np.ascontiguousarray(array[start : start + 4096]))
    return digest.hexdigest()
