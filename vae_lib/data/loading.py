"""load_dataset: every data set of the study by name, and your own images by path."""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from vae_lib.config import MAX_SIDE, MIN_SIDE, fits_model
from vae_lib.data import sprites
from vae_lib.data.dataset import TITLES, ImageDataset, split_arrays, title_of
from vae_lib.data.download import UnavailableError, find_named, verify_fashion_mnist
from vae_lib.data.image_folder import load_folder
from vae_lib.data.npz import checked, read_npz
from vae_lib.data.table import read_csv
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import safe_name

NAMES = tuple(TITLES)

READERS = {".npz": read_npz, ".npy": read_npz, ".csv": read_csv}

CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
}

STAND_INS = {"mnist": "digits", "fashion_mnist": "sprites", "cifar10": "color_sprites"}

SPRITES_SEED = 0
N_SPRITES_TRAIN, N_SPRITES_TEST = 20_000, 4_000  # training includes validation


def load_dataset(
    name_or_path: str | os.PathLike,
    data_dir: str | os.PathLike = "data",
    *,
    image_size: int | tuple[int, int] | None = None,
    skip_bad: bool = False,
    download: bool = True,
) -> ImageDataset:
    """Load a data set by name, or by path: a folder of images, an .npz, .npy or .csv file.

    `mnist`, `fashion_mnist` and `cifar10` are looked for in `<data_dir>/<name>.npz`, in the image folder
    `<data_dir>/<name>/`, in the files of the system, in Keras' cache, and then on the network. `digits`,
    `sprites` and `color_sprites` are embedded. Ten per cent of the training images are held out for testing
    if a set has no test images, and then ten per cent, at most 5,000, for validation.

    Args:
        name_or_path: One of `NAMES` (dash or underscore), or a path.
        data_dir: Folder of your own data; decoded image folders are cached in its `.cache`.
        image_size: Side in pixels or (height, width), 8 to 256, for a folder of images and for sprites.
        skip_bad: Leave out the files of a folder that cannot be read.
        download: Whether the network may be used.

    Returns:
        The data set; its `source` says where it was found.

    Raises:
        UnavailableError: If a named data set is not available. It is also an InputError.
        InputError: If an option, file or folder cannot be used.
    """
    size = _parse_size(image_size)
    data_dir = expanded(data_dir)
    name = known_name(name_or_path)
    path = data_dir / name if name else expanded(name_or_path)
    file = path.with_name(f"{name}.npz") if name else path
    if name in ("sprites", "color_sprites"):
        return _load_sprites(name, size)
    if name == "digits":
        arrays, source = _load_digits(), "embedded digits (scikit-learn)"
    elif file.suffix.lower() in READERS and file.is_file():
        arrays, note = checked(READERS[file.suffix.lower()](file), repr(str(file)))
        source = f"file {shown(file)}{note}"
        if name == "fashion_mnist":
            verify_fashion_mnist(arrays, repr(str(file)))
    elif path.is_dir() and str(name_or_path):
        source = f"image folder {shown(path)}"
        return load_folder(path, data_dir / ".cache", name or safe_name(path), source, size, skip_bad)
    elif name:
        arrays, source = find_named(name, data_dir, download=download)
    else:
        raise unknown_data(name_or_path, path)
    height, width = arrays["x_train"].shape[1:3]
    if size not in (None, (height, width)):
        raise InputError(
            f"--image_size: received {size[0]}x{size[1]}, but {path.name} has arrays of "
            f"{height}x{width} pixels; only folders are resized"
        )
    return split_arrays(name or safe_name(file.with_suffix("")), source, arrays, CLASS_NAMES.get(name, ()))


def load_or_stand_in(name: str, data_dir: str | os.PathLike = "data", **options) -> ImageDataset:
    """Load a data set, or an embedded stand-in if it is unavailable; `source` and `title` say so.

    The arguments are those of `load_dataset`. With VAE_EMBEDDED_ONLY=1 in the environment the stand-in is
    always used. A damaged file is still an error.
    """
    known = known_name(name)
    if known not in STAND_INS:
        return load_dataset(name, data_dir, **options)
    if os.environ.get("VAE_EMBEDDED_ONLY", "0") in ("", "0"):
        with suppress(UnavailableError):
            return load_dataset(name, data_dir, **options)
    data = load_dataset(STAND_INS[known], data_dir, **options)
    source = f"stand-in for {known}: {data.source}"
    return replace(data, source=source, title=f"{title_of(known)} stand-in")


def known_name(name_or_path: str | os.PathLike) -> str | None:
    """Return the known name that is meant, in whatever spelling; None for a path."""
    name = str(name_or_path).lower().replace("-", "_")
    return name if name in NAMES else None


def unknown_data(name_or_path: str | os.PathLike, path: Path) -> InputError:
    """Return the error for what is no data set that can be read."""
    if path.is_file():
        return InputError(
            f"{str(name_or_path)!r} is a file of a kind that is not read: give a folder of images, or an "
            ".npz, .npy or .csv file; np.savez('images.npz', x_train=images) writes one from an array"
        )
    return InputError(
        f"no data set {str(name_or_path)!r}: neither a known name ({', '.join(NAMES)}) nor the path of a "
        "folder of images or an .npz, .npy or .csv file; check the spelling"
    )


def expanded(path: str | os.PathLike) -> Path:
    """Return a path with `~` resolved."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{str(path)!r}: there is no such home folder; check the user's name") from None


def shown(path: Path) -> str:
    """Return a path for captions: as it was given, but without the folders of this machine."""
    inside = not path.is_absolute() and ".." not in path.parts
    return " ".join((path.as_posix() if inside else path.resolve().name).split())


def _parse_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    sides = tuple(image_size) if isinstance(image_size, tuple | list) else (image_size, image_size)
    whole = all(isinstance(side, int | np.integer) for side in sides)
    if len(sides) != 2 or not whole or not fits_model(*sides):
        raise InputError(
            f"--image_size: received {image_size!r}; give a side, or two, of {MIN_SIDE} to {MAX_SIDE} pixels"
        )
    return int(sides[0]), int(sides[1])


def _load_digits() -> dict[str, np.ndarray]:
    """Return scikit-learn's 1,797 handwritten digits, 8x8, their 17 grey levels spread over 0 to 255."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)[..., None]
    return {"x_train": pixels, "y_train": data.target.astype(np.int64)}


def _load_sprites(name: str, size: tuple[int, int] | None) -> ImageDataset:
    color = name == "color_sprites"
    height, width = size or ((32, 32) if color else (28, 28))
    if height != width:
        raise InputError(f"--image_size: received {height}x{width}; {name} are square, give one side")
    n = N_SPRITES_TRAIN + N_SPRITES_TEST
    images, factors = sprites.draw_sprites(n, height, color=color, seed=SPRITES_SEED)
    arrays = {}
    for field, values in (("x", images), ("y", factors[:, 0]), ("factors", factors)):
        arrays[f"{field}_train"], arrays[f"{field}_test"] = np.split(values, [N_SPRITES_TRAIN])
    source = f"embedded {name} (seed {SPRITES_SEED})"
    factor_names = sprites.COLOR_FACTORS if color else sprites.FACTORS
    return split_arrays(name, source, arrays, sprites.SHAPES, tuple(factor_names))
