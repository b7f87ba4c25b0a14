"""ImageDataset and load_dataset: every data set of the study, and one's own, in one form."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from vae_lib import folders, sources, sprites
from vae_lib.arrays import Arrays, checked, read_npz
from vae_lib.config import MAX_CHANNELS, MAX_SIDE, MIN_SIDE
from vae_lib.errors import InputError

CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "digits": tuple("0123456789"),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    "sprites": sprites.SHAPES,
    "color_sprites": sprites.SHAPES,
}
NAMES = tuple(CLASS_NAMES)
STAND_INS = {"mnist": "digits", "fashion_mnist": "sprites", "cifar10": "color_sprites"}
SPRITES_SEED = 0
N_SPRITES_TRAIN, N_SPRITES_TEST = 20_000, 4_000  # training includes validation


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


def load_dataset(
    name_or_path: str | os.PathLike,
    data_dir: str | os.PathLike = "data",
    *,
    image_size: int | tuple[int, int] | None = None,
    skip_bad: bool = False,
    download: bool = True,
    download_timeout: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageDataset:
    """Load a data set by name, or a folder of images or an .npz file by path.

    `mnist`, `fashion_mnist` and `cifar10` are looked for in `<data_dir>/<name>.npz`, in the image folder
    `<data_dir>/<name>/`, in what the system ships, in Keras' cache, and then on the network. `digits`,
    `sprites` and `color_sprites` are always there. Ten per cent of the training images, at most 5,000, are
    held out for validation; of a set that comes without test images, ten per cent are held out before.

    Args:
        name_or_path: One of `NAMES` (dash or underscore), or a path.
        data_dir: Folder of the user's own data; decoded folders are cached in its `.cache`.
        image_size: Side in pixels or (height, width), 8 to 128, for a folder of images and for sprites.
        skip_bad: Leave out the files of a folder that cannot be read.
        download: Whether the network may be used.
        download_timeout: Longest download in seconds; None takes VAE_DOWNLOAD_TIMEOUT, or else 300.
        progress: Called with the number of decoded files and of all; None prints a line on a terminal.

    Returns:
        The data set; its `source` says which place served.

    Raises:
        sources.UnavailableError: If a named set cannot be had. It is an InputError, too.
        InputError: If an option, file or folder cannot be used.
    """
    size = _parse_size(image_size)
    data_dir = _expanded(data_dir)
    name = known_name(name_or_path)
    path = _expanded(name_or_path) if name is None else data_dir / name
    if name in ("sprites", "color_sprites"):
        return _load_sprites(name, size)
    npz = path.with_name(f"{name}.npz") if name else path
    if name == "digits":
        arrays, source = sources.digits()
    elif npz.suffix == ".npz" and npz.is_file():
        arrays, source = read_npz(npz), f"file {_shown(npz)}"
        if name == "fashion_mnist":
            sources.verify_fashion_mnist(arrays, repr(str(npz)))
    elif path.is_dir() and str(name_or_path):
        decoded = folders.load_folder(
            path, data_dir / ".cache", image_size=size, skip_bad=skip_bad, progress=progress
        )
        return _from_folder(name or folders.safe_name(path), path, size, decoded)
    elif name is None:
        raise InputError(
            f"no data set {str(name_or_path)!r}: neither a known name ({', '.join(NAMES)}) nor the path of a "
            "folder of images or an .npz file; check the spelling"
        )
    else:
        arrays, source = sources.find_named(name, data_dir, download=download, timeout=download_timeout)
    if size not in (None, arrays["x_train"].shape[1:3]):
        raise InputError(
            f"--image_size: received {size[0]}x{size[1]}, but {path.name} has arrays of "
            f"{arrays['x_train'].shape[1]}x{arrays['x_train'].shape[2]} pixels; only folders are resized"
        )
    return _from_arrays(name or folders.safe_name(npz.with_suffix("")), source, arrays, CLASS_NAMES.get(name))


def load_or_stand_in(name: str, data_dir: str | os.PathLike = "data", **options) -> ImageDataset:
    """Load a data set, or an embedded one in its place where a real one cannot be had; `source` says so.

    With VAE_EMBEDDED_ONLY=1 in the environment the stand-in is taken at once. A file that is there but
    damaged is still an error.

    Args:
        name: One of `NAMES`, or a path.
        data_dir: As for `load_dataset`.
        **options: As for `load_dataset`.
    """
    known = known_name(name)
    stand_in = STAND_INS.get(known)
    if stand_in is None:
        return load_dataset(name, data_dir, **options)
    if os.environ.get("VAE_EMBEDDED_ONLY", "0") in ("", "0"):
        try:
            return load_dataset(name, data_dir, **options)
        except sources.UnavailableError:
            pass
    data = load_dataset(stand_in, data_dir)
    return replace(data, source=f"stand-in for {known}: {data.source}")


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
    return _from_arrays(folders.safe_name(Path(name)), "arrays in memory", checked(arrays, name), names)


def _expanded(path: str | os.PathLike) -> Path:
    """Return a path with `~` resolved."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{str(path)!r}: there is no such home folder; check the user's name") from None


def known_name(name_or_path: str | os.PathLike) -> str | None:
    """Return the name of the built-in data set that is meant, in any spelling of it; None for a path."""
    name = str(name_or_path).lower().replace("-", "_")
    return name if name in NAMES else None


def _parse_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    low, high = MIN_SIDE, MAX_SIDE
    sides = tuple(image_size) if isinstance(image_size, tuple | list) else (image_size, image_size)
    whole = all(isinstance(side, int | np.integer) for side in sides)
    if len(sides) != 2 or not whole or not low <= min(sides) <= max(sides) <= high:
        raise InputError(
            f"--image_size: received {image_size!r}; give a side, or two, of {low} to {high} pixels"
        )
    return int(sides[0]), int(sides[1])


def _shown(path: Path) -> str:
    """Name a path in a caption: as it was given, but never with the folders of this machine."""
    inside = not path.is_absolute() and ".." not in path.parts
    return " ".join((path.as_posix() if inside else path.resolve().name).split())


def _load_sprites(name: str, size: tuple[int, int] | None) -> ImageDataset:
    default, draw, factor_names = {
        "sprites": (28, sprites.sprites, sprites.FACTOR_NAMES),
        "color_sprites": (32, sprites.color_sprites, sprites.COLOR_FACTOR_NAMES),
    }[name]
    height, width = size or (default, default)
    if height != width:
        raise InputError(f"--image_size: received {height}x{width}; {name} are square, give one side")
    images, factors = draw(N_SPRITES_TRAIN + N_SPRITES_TEST, height, SPRITES_SEED)
    arrays = {
        "x_train": images[:N_SPRITES_TRAIN],
        "y_train": factors[:N_SPRITES_TRAIN, 0],
        "factors_train": factors[:N_SPRITES_TRAIN],
        "x_test": images[N_SPRITES_TRAIN:],
        "y_test": factors[N_SPRITES_TRAIN:, 0],
        "factors_test": factors[N_SPRITES_TRAIN:],
    }
    data = _from_arrays(name, f"embedded {name} (seed {SPRITES_SEED})", arrays, sprites.SHAPES)
    return replace(data, factor_names=factor_names)


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
    if n < (2 if has_test else folders.MIN_IMAGES):
        raise InputError(
            f"{name}: {n} training images; give at least {2 if has_test else folders.MIN_IMAGES}"
        )
    rows = folders.split_rows(n, test=not has_test)
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


def _from_folder(
    name: str, path: Path, size: tuple[int, int] | None, decoded: folders.FolderImages
) -> ImageDataset:
    fields = {}
    for part, rows in decoded.slices.items():
        fields[f"x_{part}"] = decoded.pixels[rows]
        fields[f"y_{part}"] = None if decoded.labels is None else decoded.labels[rows]
    source = f"image folder {_shown(path)}"
    source += ", JPEG files" if decoded.n_jpeg else ""
    source += f", resized to {size[0]}x{size[1]}" if size else ""
    source += f", {decoded.n_bad:,} unreadable files skipped" if decoded.n_bad else ""
    return ImageDataset(
        name=name, source=source, class_names=decoded.class_names, pixels_sha256=decoded.sha256, **fields
    )


def _sha256(*arrays: np.ndarray | None) -> str:
    """Hash the bytes of arrays one after the other, in pieces, so that a memory map is never copied whole."""
    digest = hashlib.sha256()
    for array in arrays:
        for start in range(0, 0 if array is None else len(array), 4096):
            digest.update(np.ascontiguousarray(array[start : start + 4096]))
    return digest.hexdigest()
