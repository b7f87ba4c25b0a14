"""Images of a folder with every pixel as it is in the file, and PNG files of such images."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np
from PIL import Image

from vae_lib.apps.archive import check_size
from vae_lib.data.image_file import Decoded, decode, strict_pillow
from vae_lib.data.image_folder import list_images
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import ensure_writable

KINDS = {1: "grey", 3: "RGB"}  # by channels


def read_images(folder: Path, image_shape: tuple[int, int, int]) -> tuple[np.ndarray, tuple[str, ...], int]:
    """Return all images below a folder, uint8 (n, h, w, c), their names as PNG files, and the files' bytes.

    Raises:
        InputError: If there is none, or one cannot be read, has another shape, or holds more than such pixels
            can: nothing is resized or converted.
    """
    files, _ = list_images(folder)
    check_size(len(files), image_shape)
    x, refused = np.empty((len(files), *image_shape), "uint8"), []
    with strict_pillow():
        for i, file in enumerate(files):
            image = decode(folder / file.relative, None)
            reason = image if isinstance(image, str) else _difference(image, image_shape)
            if reason:
                refused.append(f"{file.relative!r} ({reason})")
            else:
                x[i] = image.pixels
    if refused:
        more = f" and {len(refused) - 5:,} more" if len(refused) > 5 else ""
        needed = (
            f"{image_shape[0]}x{image_shape[1]}, {KINDS.get(image_shape[2], f'{image_shape[2]} channels')}"
        )
        raise InputError(
            f"{len(refused):,} of {len(files):,} images are not such as the model codes ({needed}): "
            f"{', '.join(refused[:5])}{more}; give others, or train a model on such images"
        )
    names = tuple(png_name(file.relative) for file in files)
    return x, names, sum(file.size for file in files)


def _difference(image: Decoded, image_shape: tuple[int, int, int]) -> str:
    """Return what keeps an image from being coded; "" is nothing."""
    if image.size != image_shape[:2]:
        return f"{image.size[0]}x{image.size[1]}"
    if image.lost:
        return image.lost
    return "" if image.pixels.shape == image_shape else KINDS[image.pixels.shape[2]]


def png_name(name: str) -> str:
    """Return the name of the PNG file for an image file: its own, or with the ending added."""
    name = normalize("NFC", name)
    return name if name.endswith(".png") else f"{name}.png"


def ensure_empty(folder: Path) -> None:
    """Make a folder; raise InputError if it cannot be written, or if anything is in it."""
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty, and nothing in it is overwritten: choose another --out")
    ensure_writable(folder)


def write_images(x: np.ndarray, names: Sequence[str], folder: Path) -> None:
    """Write uint8 images (n, h, w, c) as PNG files into an empty folder; all or none."""
    ensure_empty(folder)
    with tempfile.TemporaryDirectory(prefix=".images-", dir=folder) as temporary:
        for image, name in zip(x, names, strict=True):
            path = Path(temporary) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:  # never over another, as where upper and lower case are one
                Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
        try:
            for entry in os.listdir(temporary):
                os.replace(Path(temporary) / entry, folder / entry)
        except BaseException:  # Ctrl-C too
            for entry in (path for path in folder.iterdir() if path != Path(temporary)):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            raise
