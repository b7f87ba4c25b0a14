"""ImageDataset: images in three disjoint parts, and how they are split."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from vae_lib.config import check_image_shape
from vae_lib.data.npz import Arrays, checked
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import safe_name

PARTS = ("train", "val", "test")
_FIELDS = ("x", "y", "factors")

MIN_IMAGES = 3  # one for each part

TITLES = {
    "mnist": "MNIST",
    "digits": "digits",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "sprites": "sprites",
    "color_sprites": "colour sprites",
}


def title_of(name: str) -> str:
    """Return a data set's name as captions spell it; an unknown name as it is."""
    return TITLES.get(name, name)


def fixed_permutation(n: int) -> np.ndarray:
    """Return a random order of n items, the same on every call.

    It uses the raw stream of a bit generator, which NumPy promises never to change.
    """
    return np.argsort(np.random.PCG64(0).random_raw(n), kind="stable")


def split_counts(n: int, *, val: bool = True, test: bool = True) -> tuple[int, int]:
    """Return how many of n images to hold out for validation and for test; 0 for a part not asked for.

    Test gets 10 %, validation 10 % of the rest, at most 5,000.
    """
    n_test = max(1, n // 10) if test else 0
    return min(5000, max(1, (n - n_test) // 10)) if val else 0, n_test


def split_rows(n: int, *, test: bool) -> dict[str, np.ndarray]:
    """Return the rows of `train`, `val` and, if asked for, `test`: disjoint, in the fixed random order."""
    rows = fixed_permutation(n)
    n_val, n_test = split_counts(n, test=test)
    return {"train": rows[n_test + n_val :], "val": rows[n_test : n_test + n_val], "test": rows[:n_test]}


@dataclass(frozen=True, eq=False, repr=False)
class ImageDataset:
    """Images for training, validation and test, with labels and generative factors if they are known.

    Training and validation images are in a fixed random order. So are the test images of a folder, whose
    files are sorted by class; other test images keep their original order.

    Attributes:
        name: Short name, usable as a file name.
        source: Where the pixels came from, in a phrase for tables and captions.
        x_train: Images, uint8 (n, height, width, channels), perhaps memory-mapped.
        y_train: Labels, int64 (n,), or None.
        class_names: The name of each label; empty without labels.
        factors_train: Index of each factor's value, int64 (n, k), or None.
        factor_names: The name of each factor; empty without factors.
        files_train: Relative path of each image's file, str (n,), or None for images without files.
        reading: Of a folder, which parts were held out and what was passed over, for `summary`.
        pixels_sha256: Hash of the bytes of all images, if it is already known.
        title: Name for captions; by default the usual spelling of `name`.
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
    files_train: np.ndarray | None = None
    files_val: np.ndarray | None = None
    files_test: np.ndarray | None = None
    reading: str = ""
    pixels_sha256: str | None = None
    title: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or title_of(self.name))
        for part in PARTS:
            images = getattr(self, f"x_{part}")
            if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1:] != self.x_train.shape[1:]:
                raise InputError(
                    f"{self.name}: x_{part} is {images.dtype} of shape {images.shape}; give uint8 of shape "
                    "(n, height, width, channels), with one image shape for all three parts"
                )
            for values in (getattr(self, f"{field}_{part}") for field in ("y", "factors", "files")):
                if values is not None and len(values) != len(images):
                    raise InputError(
                        f"{self.name}: {len(values):,} labels, factors or files for the "
                        f"{len(images):,} images of {part}; give one for each image"
                    )

    def __repr__(self) -> str:
        counts = " + ".join(f"{len(getattr(self, f'x_{part}')):,}" for part in PARTS)
        shape = "x".join(map(str, self.image_shape))
        return f"ImageDataset({self.name!r}, {counts} images of {shape}, source={self.source!r})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return self.x_train.shape[1:]

    def fingerprint(self) -> str:
        """Return the hash of shapes, pixels, labels and factors, 64 hexadecimal digits; computed once."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        x, y, factors = ([getattr(self, f"{field}_{part}") for part in PARTS] for field in _FIELDS)
        counts, pixels = [len(images) for images in x], self.pixels_sha256 or _sha256(*x)
        content = json.dumps([counts, self.image_shape, pixels, _sha256(*y), _sha256(*factors)])
        return hashlib.sha256(content.encode()).hexdigest()

    def images_and_labels(self, part: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Return x and y of `train`, `val` or `test`."""
        return getattr(self, f"x_{part}"), getattr(self, f"y_{part}")

    def summary(self) -> str:
        """Return the sizes of the parts and the classes in one line, to be checked before training."""
        parts = ", ".join(f"{part} {len(getattr(self, f'x_{part}')):,}" for part in PARTS)
        facts = [f"{parts} images of {'x'.join(map(str, self.image_shape))}"]
        if self.class_names:
            labels = np.concatenate([self.y_train, self.y_val, self.y_test])
            counts = np.bincount(labels, minlength=len(self.class_names))
            shown = [f"{name} {n:,}" for name, n in zip(self.class_names, counts, strict=True)]
            more = ["..."] if len(shown) > 10 else []
            facts.append(f"{len(shown)} classes (all parts): {', '.join(shown[:10] + more)}")
        else:
            facts.append("no classes")
        return "; ".join([*facts, self.reading]) if self.reading else "; ".join(facts)

    def describe(self) -> dict:
        """Return what a run records about its data, as a JSON-able dict."""
        return {
            "name": self.name,
            "source": self.source,
            "fingerprint": self.fingerprint(),
            "image_shape": list(self.image_shape),
            "n_classes": len(self.class_names),
            "class_names": list(self.class_names),
            **{f"n_{part}": len(getattr(self, f"x_{part}")) for part in PARTS},
        }

    def subset(
        self, n_train: int | None = None, n_val: int | None = None, n_test: int | None = None
    ) -> "ImageDataset":
        """Return a data set of at most the first n images of each part; None keeps all.

        If no image is left out, this is the data set itself, and its fingerprint isn't computed again.

        Raises:
            InputError: If a number is below 1.
        """
        changes: dict = {"pixels_sha256": None}
        for part, n in (("train", n_train), ("val", n_val), ("test", n_test)):
            if n is not None and n < 1:
                raise InputError(f"n_{part}: received {n}; keep at least 1 image")
            for key in (f"{field}_{part}" for field in (*_FIELDS, "files")):
                values = getattr(self, key)
                changes[key] = None if values is None else values[:n]
        same = all(len(changes[f"x_{part}"]) == len(getattr(self, f"x_{part}")) for part in PARTS)
        return self if same else replace(self, **changes)

    def without_test(self) -> "ImageDataset":
        """Return the training and validation images alone, for choices that must not see the test images."""
        keys = [f"{field}_test" for field in (*_FIELDS, "files")]
        none = {key: None if getattr(self, key) is None else getattr(self, key)[:0] for key in keys}
        return replace(self, pixels_sha256=None, **none)


def from_arrays(
    x_train: np.ndarray,
    y_train: np.ndarray | None = None,
    x_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    name: str = "arrays",
    class_names: Sequence[str] | None = None,
) -> ImageDataset:
    """Make a data set from your own arrays; parts that are missing are held out as by `load_dataset`.

    Args:
        x_train: Images (n, height, width) or (n, height, width, channels): integers from 0 to 255, floats in
            [0, 1], masks of 0 and 1, or integers of up to 16 bits; `source` says how these become 0 to 255.
        y_train: Labels, integers from 0 to 9999, (n,), or None.
        x_test: Test images, or None.
        y_test: Their labels.
        name: Short name of the data set.
        class_names: The name of each label, from 0; None takes the labels that there are, as numbers.

    Raises:
        InputError: If an array has a wrong shape, or values whose meaning is unclear.
    """
    given = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    arrays = {key: np.asarray(values) for key, values in given.items() if values is not None}
    arrays, note = checked(arrays, name)
    return split_arrays(safe_name(Path(name)), f"arrays in memory{note}", arrays, class_names or ())


def split_arrays(
    name: str, source: str, arrays: Arrays, class_names: Sequence[str] = (), factor_names: Sequence[str] = ()
) -> ImageDataset:
    """Make a data set from `x_train` and, if present, `y_train`, `factors_train`, `x_test`, `y_test`, ...

    Raises:
        InputError: If the model does not take such images, there are too few, or a label has no name.
    """
    check_image_shape(
        arrays["x_train"].shape[1:], name, "resize the arrays, or give a folder of images and --image_size"
    )
    has_test = "x_test" in arrays
    n, n_least = len(arrays["x_train"]), MIN_IMAGES - has_test
    if n < n_least:
        raise InputError(f"{name}: {n} training images; give at least {n_least}")
    labels = {key: values for key, values in arrays.items() if key.startswith("y")}
    present = np.unique(np.concatenate([*labels.values()])) if labels else np.array([], int)
    if not class_names:  # the classes are the labels that there are
        class_names = tuple(map(str, present))
        arrays = arrays | {key: np.searchsorted(present, values) for key, values in labels.items()}
    elif labels and present[-1] >= len(class_names):
        raise InputError(
            f"{name}: a label is {present[-1]}; {name} has the labels 0 to {len(class_names) - 1}"
        )
    class_names = tuple(class_names) if labels else ()
    parts = {
        f"{field}_{part}": arrays[f"{field}_train"][rows]
        for part, rows in split_rows(n, test=not has_test).items()
        for field in _FIELDS
        if f"{field}_train" in arrays
    }
    parts |= {key: values for key, values in arrays.items() if key.endswith("_test")}
    return ImageDataset(name, source, **parts, class_names=class_names, factor_names=tuple(factor_names))


def _sha256(*arrays: np.ndarray | None) -> str:
    """Hash the bytes of arrays in pieces, so that a memory-mapped array is never copied as a whole."""
    digest = hashlib.sha256()
    for array in arrays:
        for start in range(0, 0 if array is None else len(array), 4096):
            digest.update(np.ascontiguousarray(array[start : start + 4096]))
    return digest.hexdigest()
