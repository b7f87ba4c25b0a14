"""One image file as pixels, by fixed rules.

- A file is recognised by its content. EXIF rotation is applied. Of an animation or a file of several pages
  the first frame is used.
- Transparency is composited on white. Palettes, CMYK and other colour models become RGB by Pillow's own
  conversion, without colour profiles. 16-bit grey is divided by 257 and rounded, 1-bit becomes 0 and 255;
  floating-point images are refused. Images of a grey mode have 1 channel, all others 3.
- With an image size, the image is cropped around its centre to the target's aspect ratio, as large as
  possible, and resized with a Lanczos filter.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vae_lib.config import fits_model

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")

Size = tuple[int, int]  # height, width


class Decoded(NamedTuple):
    """The image of a file."""

    size: Size
    pixels: np.ndarray | None  # uint8 (height, width, 1 or 3); None if the model does not take the size
    animated: bool  # whether there are more frames


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


def decode(path: Path, image_size: Size | None) -> Decoded | str:
    """Decode one file, or return the reason why it cannot be read.

    Args:
        path: The file.
        image_size: (height, width) to crop and resize to; None keeps the image's size.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            animated = bool(getattr(image, "is_animated", False))
            if image_size is None and not fits_model(image.height, image.width):
                return Decoded((image.height, image.width), None, animated)
            frame = _to_grey_or_rgb(ImageOps.exif_transpose(image))
        if image_size is not None:
            frame = ImageOps.fit(frame, image_size[::-1], Image.Resampling.LANCZOS)
        return Decoded(frame.size[::-1], np.atleast_3d(np.asarray(frame)), animated)
    except UnidentifiedImageError:
        return "empty" if path.stat().st_size == 0 else "not an image of a known format"
    except Exception as error:  # decoders raise many types on damaged files
        return " ".join(f"{type(error).__name__}: {error}".split())[:120]


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    """Convert to mode L or RGB by the rules in the module's docstring."""
    if image.mode == "F":
        raise ValueError("floating-point pixels of unknown range")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit pixels outside 0 to 65535")
        return Image.fromarray(np.rint(values / 257).astype(np.uint8))
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert(mode)
