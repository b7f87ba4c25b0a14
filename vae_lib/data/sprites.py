"""Procedural images with known generative factors, in the manner of dSprites.

Every image is one combination of factors on a discrete grid, and no combination is drawn twice:

| factor | values | meaning |
|---|---|---|
| shape | 3 | square, ellipse (axes 1 : 0.55), heart |
| scale | 6 | radius of the circle around the shape, 0.12 to 0.24 of the image side |
| orientation | 16 | cyclic, counter-clockwise |
| x, y | 16 each | centre, 0.25 to 0.75 of the image side, left to right and top to bottom |
| object_hue, background_hue | 8 each | cyclic; colour sprites only |

The 16 orientations divide the period of the shape's own symmetry: 90 degrees for the square, 180 for the
ellipse, 360 for the heart. dSprites divides 360 degrees for all shapes, so different factors may give the
same image; here they never do, and train and test cannot share an image. The sprite stays inside the image.
Objects have value 1 and backgrounds 0.35 in HSV, so an object is visible even on its own hue.
"""

import colorsys
import math

import numpy as np

from vae_lib.utils.errors import InputError

SHAPES = ("square", "ellipse", "heart")
FACTORS = {"shape": 3, "scale": 6, "orientation": 16, "x": 16, "y": 16}  # number of values
COLOR_FACTORS = FACTORS | {"object_hue": 8, "background_hue": 8}

_PERIODS = (math.pi / 2, math.pi, 2 * math.pi)  # radians, by shape
_CHUNK = 256  # images drawn at once, so that their pixels stay in the processor's cache


def draw_sprites(n: int, size: int, *, color: bool = False, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw `n` different sprites: white on black, or in two colours.

    The first images of a larger `n` are those of a smaller one with the same seed.

    Args:
        n: Number of images, at most the size of the grid: 73,728, or 4,718,592 in colour.
        size: Image side in pixels, at least 8.
        color: Whether to draw RGB sprites, with a hue of the object and one of the background.
        seed: Any integer from 0.

    Returns:
        Images, uint8 (n, size, size, 1 or 3), and the index of each factor's value, int64 (n, 5 or 7), with
        columns as in `FACTORS` or `COLOR_FACTORS`.

    Raises:
        InputError: If `n` or `size` is out of range.
    """
    sizes = tuple((COLOR_FACTORS if color else FACTORS).values())
    total = math.prod(sizes)
    if not 1 <= n <= total:
        raise InputError(f"n: received {n} sprites; choose 1 to {total:,}, the number of different ones")
    n_draws, cells = 2 * n, np.empty(0, np.uint64)
    while len(cells) < n:  # the raw stream of a bit generator, which NumPy promises never to change
        draws = np.random.PCG64(seed).random_raw(n_draws) % np.uint64(total)
        cells = draws[np.sort(np.unique(draws, return_index=True)[1])]  # each cell where it first occurs
        n_draws *= 2
    factors = np.stack(np.unravel_index(cells[:n].astype(np.int64), sizes), axis=1).astype(np.int64)
    return render(factors, size), factors


def render(factors: np.ndarray, size: int) -> np.ndarray:
    """Draw the sprites of the given factor values: grey for 5 columns, RGB for 7.

    Args:
        factors: Integer indices of the factors' values, shape (n, 5) or (n, 7).
        size: Image side in pixels, at least 8.

    Returns:
        uint8 images, shape (n, size, size, 1) or (n, size, size, 3).

    Raises:
        InputError: If the table has another shape or type, or an index outside its factor's grid.
    """
    factors = np.asarray(factors)
    if factors.ndim != 2 or factors.shape[1] not in (5, 7) or not np.issubdtype(factors.dtype, np.integer):
        raise InputError(
            f"factors: received {factors.dtype} of shape {factors.shape}; "
            "give integers of shape (n, 5) or (n, 7)"
        )
    color = factors.shape[1] == 7
    sizes = tuple((COLOR_FACTORS if color else FACTORS).values())
    if np.any(factors < 0) or np.any(factors >= sizes):
        raise InputError(f"factors: an index lies outside the grid; each must be from 0 to below {sizes}")
    if size < 8:
        raise InputError(f"size: received {size} pixels; sprites need at least 8")
    images = np.empty((len(factors), size, size, 3 if color else 1), np.uint8)
    for shape in range(len(SHAPES)):
        rows = np.flatnonzero(factors[:, 0] == shape)
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            coverage = _coverage(shape, factors[chunk], size)[..., None]
            images[chunk] = np.rint(_paint(coverage, factors[chunk]) if color else coverage * 255)
    return images


def _coverage(shape: int, factors: np.ndarray, size: int) -> np.ndarray:
    """Share of each pixel inside the outline, float32 (n, size, size), from the pixel's distance to it."""
    ends = (5, 16, 15, 15)  # the index that stands for 1; orientation, being cyclic, stays below it
    scale, orientation, x, y = (factors[:, 1:5] / ends).astype(np.float32).T[..., None, None]
    radius = size * (0.12 + 0.12 * scale)  # pixels
    centres = np.arange(size, dtype=np.float32) + np.float32(0.5)
    right = (centres[None, None, :] - size * (0.25 + 0.5 * x)) / radius
    up = (size * (0.25 + 0.5 * y) - centres[None, :, None]) / radius
    angle = orientation * np.float32(_PERIODS[shape])
    u = np.cos(angle) * right + np.sin(angle) * up
    v = np.cos(angle) * up - np.sin(angle) * right
    distance = (_square, _ellipse, _heart)[shape](u, v) * radius
    return np.clip(np.float32(0.5) - distance, 0, 1)


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance to the square inscribed in the unit circle, negative inside."""
    half = np.float32(math.sqrt(0.5))
    u, v = np.abs(u) - half, np.abs(v) - half
    outside = np.sqrt(np.maximum(u, 0) ** 2 + np.maximum(v, 0) ** 2)
    return outside + np.minimum(np.maximum(u, v), 0)


def _ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance to the ellipse with half-axes 1 and 0.55: to first order, exact on the outline."""
    v = v / np.float32(0.55)
    value = np.maximum(np.sqrt(u**2 + v**2), np.float32(1e-6))
    slope = np.maximum(np.sqrt(u**2 + (v / np.float32(0.55)) ** 2), np.float32(1e-6))
    return value * (value - 1) / slope


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance to the heart whose smallest enclosing circle is the unit circle.

    Source: Inigo Quilez, "2D distance functions", heart; moved and scaled to its enclosing circle.
    """
    scale = np.float32(0.6306)
    u, v = np.abs(u) * scale, v * scale + scale
    lobe = np.sqrt((u - np.float32(0.25)) ** 2 + (v - np.float32(0.75)) ** 2) - np.float32(math.sqrt(2) / 4)
    along = np.maximum(u + v, 0) / 2
    wedge = np.minimum(u**2 + (v - 1) ** 2, (u - along) ** 2 + (v - along) ** 2)
    return np.where(u + v > 1, lobe, np.sqrt(wedge) * np.sign(u - v)) / scale


def _paint(coverage: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Blend the colours of object and background by the share of each pixel that the object covers."""
    hues = np.arange(COLOR_FACTORS["object_hue"]) / COLOR_FACTORS["object_hue"]
    objects = np.array([colorsys.hsv_to_rgb(hue, 0.85, 1.0) for hue in hues], np.float32) * 255
    backgrounds = np.array([colorsys.hsv_to_rgb(hue, 0.6, 0.35) for hue in hues], np.float32) * 255
    front, back = (table[factors[:, i], None, None] for table, i in ((objects, 5), (backgrounds, 6)))
    return back + coverage * (front - back)
