"""Reconstruction error of 8-bit images, from arrays alone; shapes that differ raise a ValueError."""

import numpy as np
from numpy.typing import ArrayLike

from vae_lib.metrics.shapes import check_finite

_BLOCK = 256  # images that are float64 at once


def mse_of_each(x: ArrayLike, reconstruction: ArrayLike) -> np.ndarray:
    """Mean squared error of each image, shape (n,), in squared grey levels; arguments as of `mse`."""
    x, reconstruction = np.asarray(x), np.asarray(reconstruction)
    if x.shape != reconstruction.shape or x.ndim < 2 or x.size == 0:
        raise ValueError(
            f"`x` and `reconstruction` must be images of one shape (n, ...); received {x.shape} and "
            f"{reconstruction.shape}. Pass both as (n, height, width, channels)."
        )
    check_finite(x=x, reconstruction=reconstruction)
    blocks = [slice(i, i + _BLOCK) for i in range(0, len(x), _BLOCK)]
    squares = (np.square(np.subtract(x[rows], reconstruction[rows], dtype=np.float64)) for rows in blocks)
    return np.concatenate([square.reshape(len(square), -1).mean(axis=1) for square in squares])


def mse(x: ArrayLike, reconstruction: ArrayLike) -> float:
    """Mean squared error per pixel, on the scale 0 to 255.

    Args:
        x: Images, values 0 to 255, shape (n, ...).
        reconstruction: Their reconstructions on the same scale, same shape.

    Returns:
        Mean over pixels and images, in squared grey levels. Lower is better.
    """
    return float(mse_of_each(x, reconstruction).mean())


def psnr(x: ArrayLike, reconstruction: ArrayLike) -> float:
    """Peak signal-to-noise ratio with peak 255: computed per image, then averaged over images.

    Args:
        x: Images, values 0 to 255, shape (n, ...).
        reconstruction: Their reconstructions on the same scale, same shape.

    Returns:
        Mean PSNR in decibels; infinite as soon as one image is met exactly. Higher is better.
    """
    return float(psnr_of_each(x, reconstruction).mean())


def psnr_of_each(x: ArrayLike, reconstruction: ArrayLike) -> np.ndarray:
    """PSNR of each image in decibels, shape (n,), infinite where it is met exactly; arguments as of `mse`."""
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(255.0**2 / mse_of_each(x, reconstruction))
