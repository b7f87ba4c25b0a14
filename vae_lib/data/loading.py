"""ImageDataset and load_dataset: every data set of the study, and one's own, in one form."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from vae_lib.config import MAX_SIDE, MIN_SIDE
from vae_lib.data import download as sources
from vae_lib.data import image_folder, sprites
from vae_lib.data.dataset import ImageDataset, _from_arrays
from vae_lib.data.npz import read_npz
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import safe_name

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
        decoded = image_folder.load_folder(
            path, data_dir / ".cache", image_size=size, skip_bad=skip_bad, progress=progress
        )
        return _from_folder(name or safe_name(path), path, size, decoded)
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
    return _from_arrays(name or safe_name(npz.with_suffix("")), source, arrays, CLASS_NAMES.get(name))


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
    color = name == "color_sprites"
    height, width = size or ((32, 32) if color else (28, 28))
    if height != width:
        raise InputError(f"--image_size: received {height}x{width}; {name} are square, give one side")
    n = N_SPRITES_TRAIN + N_SPRITES_TEST
    images, factors = sprites.draw_sprites(n, height, color=color, seed=SPRITES_SEED)
    arrays = {
        "x_train": images[:N_SPRITES_TRAIN],
        "y_train": factors[:N_SPRITES_TRAIN, 0],
        "factors_train": factors[:N_SPRITES_TRAIN],
        "x_test": images[N_SPRITES_TRAIN:],
        "y_test": factors[N_SPRITES_TRAIN:, 0],
        "factors_test": factors[N_SPRITES_TRAIN:],
    }
    data = _from_arrays(name, f"embedded {name} (seed {SPRITES_SEED})", arrays, sprites.SHAPES)
    return replace(data, factor_names=tuple(sprites.COLOR_FACTORS if color else sprites.FACTORS))


def _from_folder(
    name: str, path: Path, size: tuple[int, int] | None, decoded: image_folder.FolderImages
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
