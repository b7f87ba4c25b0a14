"""One image file as pixels, by fixed rules.

- A file is recognised by its content. EXIF rotation is applied. Of an animation or a file of several pages
  the first frame is used.
- Transparency is composited on white. Palettes, CMYK and other colour models become RGB by Pillow's own
  conversion, without colour profiles, which keeps the upper 8 bits of 16-bit colour. 1-bit becomes 0 and
  255; floating-point images are refused. Images of a grey mode have 1 channel, all others 3.
- `pixel_range` says how the values of 8-bit images, and those of 16-bit grey ones, become 0 to 255.
- With an image size, the image is cropped around its centre to the target's aspect ratio, as large as
  possible, and resized with a Lanczos filter.
- Images for a trained model take its number of channels: colours become grey by Pillow's conversion (ITU-R
  601-2), grey is spread over three channels.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vae_lib.config import fits_model
from vae_lib.data.pixel_range import MAX_VALUE, to_bytes
from vae_lib.utils.errors import InputError

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")

Size = tuple[int, int]  # height, width
WHITE_LEVELS = {8: 255, 16: MAX_VALUE}  # of 8-bit images and of 16-bit grey ones that use all their bits


class Decoded(NamedTuple):
    """The image of a file."""

    size: Size
    pixels: np.ndarray | None  # uint8 (height, width, 1 or 3); None if the model does not take the size
    animated: bool  # whether there are more frames
    jpeg: bool  # whether it is a lossy copy
    bits: int = 8  # of the file: 16 for deep grey, else 8
    high: int = 0  # the largest value in the file
    resized: bool = False  # whether the file has another size
    lost: str = ""  # what the file holds that the pixels do not


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Turn a decompression bomb into an error, and ignore warnings such as that of a damaged EXIF block."""
    Image.init()  # here, since the threads would all do it at once
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def has_image(path: Path) -> bool:
    """Return whether a file begins like an image of a known format."""
    try:
        with strict_pillow(), Image.open(path, formats=_FORMATS):
            return True
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return True  # and `decode` says what is wrong with it
    except Exception:  # decoders raise many types
        return False


def decode(
    path: Path, image_size: Size | None, white_levels: Mapping[int, int] = WHITE_LEVELS
) -> Decoded | str:
    """Decode one file, or return the reason why it cannot be read.

    Args:
        path: The file.
        image_size: (height, width) to crop and resize to; None keeps the image's size.
        white_levels: The value that becomes 255, for each number of bits.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            facts = bool(getattr(image, "is_animated", False)), image.format in ("JPEG", "MPO")
            lost = _lost(image)
            if image_size is None and not fits_model(image.height, image.width):
                return Decoded((image.height, image.width), None, *facts)
            values = _grey_or_rgb(ImageOps.exif_transpose(image))
        bits, high = 8 * min(2, values.itemsize), int(values.max())
        pixels = to_bytes(values, white_levels[bits])
        if image_size is not None:
            pixels = _fit(pixels, image_size)
        resized = pixels.shape[:2] != values.shape[:2]
        return Decoded(pixels.shape[:2], np.atleast_3d(pixels), *facts, bits, high, resized, lost)
    except UnidentifiedImageError:
        return "empty" if path.stat().st_size == 0 else "not an image of a known format"
    except Exception as error:  # decoders raise many types on damaged files
        return " ".join(f"{type(error).__name__}: {error}".split())[:120]


def to_shape(pixels: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Return an image, uint8 (height, width, channels), in the shape of a model's, by the module's rules.

    Raises:
        InputError: If the model's images have transparency, and this one has another number of channels.
    """
    *size, channels = image_shape
    given = pixels.shape[2]
    if given != channels and channels not in (1, 3):
        raise InputError(f"the model's images have {channels} channels, and these {given}: give such images")
    pixels = pixels.squeeze(2) if given == 1 else pixels
    if given != channels and given in (2, 4):
        pixels = _grey_or_rgb(Image.fromarray(pixels))
    pixels = _fit(pixels, tuple(size))
    if channels == 1 and pixels.ndim == 3:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))
    return np.broadcast_to(np.atleast_3d(pixels), image_shape)


def _fit(pixels: np.ndarray, size: Size) -> np.ndarray:
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), size[::-1], Image.Resampling.LANCZOS))


def _lost(image: Image.Image) -> str:
    """Return what an image that is not yet decoded loses by this module's rules; nothing is ""."""
    if image.has_transparency_data:
        return "transparency"
    if image.mode not in ("1", "L", "P", "RGB"):
        return f"mode {image.mode}"
    deep = any(tile[0] == "ppm" or ";16" in str(tile[3]) for tile in image.tile)  # Pillow keeps 8 bits
    return "more than 8 bits" if deep else "all frames but one" * bool(getattr(image, "is_animated", False))


def _grey_or_rgb(image: Image.Image) -> np.ndarray:
    """Return the values of 16-bit grey as they are, and others as uint8 by the module's rules."""
    if image.mode == "F":
        raise ValueError("floating-point pixels of unknown range")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > MAX_VALUE:
            raise ValueError(f"32-bit pixels outside 0 to {MAX_VALUE}")
        return values
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert(mode))
