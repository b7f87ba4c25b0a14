"""Baselines on the scale of a VAE: the mean image, probabilistic PCA, and lossless image coders.

All are fitted on training images and scored on test images, in the units of `metrics`.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image
from scipy import linalg

from vae_lib.metrics.elbo import bits_per_dim
from vae_lib.metrics.reconstruction import mse, psnr
from vae_lib.utils.errors import InputError

MAX_DIMS = 4096  # values in an image: the covariance matrix holds their square
_BLOCK = 2000  # images held as float64 at once
CODECS = {
    "PNG": {"format": "PNG", "optimize": True},
    "WebP": {"format": "WEBP", "lossless": True, "quality": 100, "method": 6, "exact": True},
}


@dataclass(frozen=True)
class Ppca:
    """Probabilistic PCA: x = mean + W z + noise, z from N(0, I), the noise isotropic: p(x) is a Gaussian.

    Attributes:
        mean: Mean image, on the scale 0 to 255, shape (n_dims,).
        axes: Orthonormal principal axes, shape (latent_dim, n_dims).
        variances: Variance along each axis, shape (latent_dim,), in squared grey levels.
        noise_variance: Variance along any other direction.
    Source: Tipping and Bishop 1999, "Probabilistic principal component analysis", JRSS B 61.
    """

    mean: np.ndarray
    axes: np.ndarray
    variances: np.ndarray
    noise_variance: float

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Return log p of points on the scale 0 to 255, nats of a *density*, shape (n,).

        Args:
            x: Shape (n, ...), n_dims values each.
        """
        centred = x.reshape(len(x), -1) - self.mean
        along = centred @ self.axes.T  # (n, latent_dim)
        outside = np.maximum(0.0, np.sum(centred**2, axis=1) - np.sum(along**2, axis=1))
        squares = np.sum(along**2 / self.variances, axis=1) + outside / self.noise_variance
        return -0.5 * (squares + self._log_determinant() + len(self.mean) * math.log(2.0 * math.pi))

    def _log_determinant(self) -> float:
        n_rest = len(self.mean) - len(self.variances)
        return float(np.log(self.variances).sum() + n_rest * math.log(self.noise_variance))

    def log_prob_bound(self, x: np.ndarray) -> np.ndarray:
        """Bound the log-probability of 8-bit images from below, in nats, shape (n,).

        An image has the probability P(x) that p assigns to its cell [x, x + 1)^n_dims: the cells do not
        overlap, so the P(x) sum to at most 1. By Jensen's inequality log P(x) is at least the mean of log p
        over the cell (uniform dequantisation), which is exact here, without sampling: log p is quadratic,
        so it is log p at the cell's centre less tr(C^-1) / 24.

        Args:
            x: Images, uint8 (n, ...).
        Source: Theis et al. 2016, arXiv:1511.01844, section 3.1.
        """
        n_rest = len(self.mean) - len(self.variances)
        trace = np.sum(1.0 / self.variances) + n_rest / self.noise_variance
        blocks = (x[i : i + _BLOCK].astype("float64") + 0.5 for i in range(0, len(x), _BLOCK))
        return np.concatenate([self.log_density(block) for block in blocks]) - trace / 24.0

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """Return the projections of images on the axes: of all linear maps, the least squared error.

        Args:
            x: Images, uint8 (n, ...).

        Returns:
            uint8, in the shape of x.
        """
        centred = x.reshape(len(x), -1) - (self.mean - 0.5)  # the mean is that of the cells' centres
        projected = centred @ self.axes.T @ self.axes + (self.mean - 0.5)
        return np.clip(np.round(projected), 0, 255).astype("uint8").reshape(x.shape)

    def leading(self, latent_dim: int) -> "Ppca":
        """Return the model of the first axes only: what `fit_ppca` gives for fewer latents, at no cost.

        Raises:
            InputError: If there are not so many axes.
        """
        n_dims, n_axes = len(self.mean), len(self.variances)
        if not 0 <= latent_dim <= n_axes:
            raise InputError(
                f"latent_dim must be from 0 to the {n_axes} axes that were fitted; received {latent_dim}"
            )
        outside = self.variances[latent_dim:].sum() + (n_dims - n_axes) * self.noise_variance
        noise = outside / (n_dims - latent_dim)
        return Ppca(self.mean, self.axes[:latent_dim], self.variances[:latent_dim], noise)


def fit_ppca(x: np.ndarray, latent_dim: int) -> Ppca:
    """Fit probabilistic PCA to uniformly dequantised images by maximum likelihood, in closed form.

    Dequantisation adds 1/2 to the mean and 1/12 to every variance: no noise is drawn.

    Args:
        x: Images, uint8 (n, ...); may be memory-mapped.
        latent_dim: Number of axes, from 0 to below the values in an image.

    Raises:
        InputError: If the images are too large for a covariance matrix, or `latent_dim` is out of range.
    """
    n_dims = math.prod(x.shape[1:])
    if n_dims > MAX_DIMS:
        raise InputError(f"PCA takes images of at most {MAX_DIMS:,} values; received {n_dims:,}: resize them")
    if not 0 <= latent_dim < n_dims:
        raise InputError(f"latent_dim of PCA must be from 0 to {n_dims - 1}; received {latent_dim}")
    mean, covariance = _moments(x, n_dims)
    values, vectors = np.zeros(0), np.zeros((n_dims, 0))
    if latent_dim:
        values, vectors = linalg.eigh(covariance, subset_by_index=(n_dims - latent_dim, n_dims - 1))
    rest = max(0.0, np.trace(covariance) - values.sum()) / (n_dims - latent_dim)
    variances = np.maximum(values[::-1], rest) + 1.0 / 12.0
    return Ppca(mean + 0.5, vectors.T[::-1].copy(), variances, rest + 1.0 / 12.0)


def _moments(x: np.ndarray, n_dims: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of images in float64, a block of them in memory at a time."""
    mean = np.asarray(x.mean(axis=0, dtype="float64")).reshape(-1)
    covariance = np.zeros((n_dims, n_dims))
    for i in range(0, len(x), _BLOCK):
        centred = x[i : i + _BLOCK].reshape(-1, n_dims) - mean
        covariance += centred.T @ centred
    return mean, covariance / len(x)


def mosaic(x: np.ndarray) -> np.ndarray:
    """Lay images side by side in a rectangle as square as their number allows.

    Args:
        x: Images (n, h, w, c); of more than 10, the last n % 10 are left out.

    Returns:
        One image (rows * h, columns * w, c), row by row.
    """
    n = len(x) - len(x) % 10 if len(x) > 10 else len(x)
    rows = next(rows for rows in range(math.isqrt(n), 0, -1) if n % rows == 0)
    grid = np.asarray(x[:n]).reshape(rows, n // rows, *x.shape[1:])
    return grid.transpose(0, 2, 1, 3, 4).reshape(rows * x.shape[1], -1, x.shape[3])


def codec_bits_per_dim(
    x: np.ndarray, codec: str, n_mosaics: int | None = None, per_mosaic: int = 1000, seed: int = 0
) -> tuple[float, int]:
    """Bits per dimension that a lossless image format needs for mosaics of images, headers included.

    One image alone is too small for a coder to learn from, so mosaics of `per_mosaic` are coded: this
    favours the coder over a VAE, which codes each image by itself. The images are shuffled first, or a
    test set sorted by class would make mosaics of one class.

    Args:
        x: Images, uint8 (n, h, w, c), c of 1, 3 or 4.
        codec: "PNG", optimised, or "WebP", lossless at its slowest setting (some 10 s a mosaic).
        n_mosaics: Mosaics to code; None takes as many as there are whole ones.
        per_mosaic: Images in each, or all if there are fewer.
        seed: Of the shuffle.

    Returns:
        Bits per pixel and channel, mean over mosaics, and the number of images behind it.

    Raises:
        InputError: If Pillow has no such codec, or none for this number of channels.
    """
    if codec not in CODECS or x.shape[-1] == 2:
        raise InputError(f"codec must be one of {', '.join(CODECS)} and images of 1, 3 or 4 channels; "
                         f"received {codec!r} and {x.shape[-1]}")  # fmt: skip
    order = np.random.default_rng(seed).permutation(len(x))
    per_mosaic = min(per_mosaic, len(x))
    whole = len(x) // per_mosaic
    bits = n_values = 0
    for i in range(min(whole, n_mosaics or whole)):
        pixels = mosaic(x[order[i * per_mosaic : (i + 1) * per_mosaic]])
        bits += 8 * len(encode(pixels, codec))
        n_values += pixels.size
    return bits / n_values, n_values // math.prod(x.shape[1:])


def encode(pixels: np.ndarray, codec: str) -> bytes:
    """Return one image, uint8 (h, w, c), as the bytes of a lossless file."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, **CODECS[codec])
    return file.getvalue()


def baseline_table(
    x_train: np.ndarray, x_test: np.ndarray, latent_dim: int, n_mosaics: int | None = 1
) -> pd.DataFrame:
    """Score the baselines that need no training loop on test images.

    Args:
        x_train: Images to fit, uint8 (n, h, w, c).
        x_test: Images to score, of the same shape each.
        latent_dim: Axes of the PCA.
        n_mosaics: Mosaics of 1,000 test images for each codec; None codes all of them.

    Returns:
        Columns: `baseline`; `bits_per_dim` (lower is better; of PCA an upper bound), `mse` (0..255 squared),
        `psnr` (dB), NaN where there is none; `n`, the test images behind the bits.
    """
    mean_image = np.mean(x_train, axis=0, dtype="float64")
    ppca = fit_ppca(x_train, latent_dim)
    n_dims = math.prod(x_test.shape[1:])
    bits = bits_per_dim(-ppca.log_prob_bound(x_test).mean(), n_dims)
    rows = [
        {"baseline": "mean image", **_errors(x_test, np.broadcast_to(mean_image, x_test.shape))},
        {
            "baseline": f"PCA, {latent_dim} axes",
            "bits_per_dim": bits,
            **_errors(x_test, ppca.reconstruct(x_test)),
        },
    ]
    for codec in CODECS:
        bits, n = codec_bits_per_dim(x_test, codec, n_mosaics)
        rows.append({"baseline": codec, "bits_per_dim": bits, "n": n})
    columns = ["baseline", "bits_per_dim", "mse", "psnr", "n"]
    return pd.DataFrame(rows, columns=columns)


def _errors(x: np.ndarray, reconstruction: np.ndarray) -> dict[str, float]:
    return {"mse": mse(x, reconstruction), "psnr": psnr(x, reconstruction), "n": len(x)}
