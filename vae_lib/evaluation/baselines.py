"""Baselines on the scale of a VAE: probabilistic PCA, and lossless image coders.

Both are scored on test images, in the units of `metrics`.
"""

import copy
import io
import math

import numpy as np
from PIL import Image
from sklearn.decomposition import PCA

from vae_lib.utils.errors import InputError

MAX_DIMS = 4096  # values in an image: the covariance matrix holds their square
CODECS = {
    "PNG": {"format": "PNG", "optimize": True},
    "WebP": {"format": "WEBP", "lossless": True, "quality": 100, "method": 6, "exact": True},
}


def fit_pca(x: np.ndarray, n_components: int) -> PCA:
    """Fit probabilistic PCA to uniformly dequantised images by maximum likelihood, in closed form.

    Dequantisation adds 1/12 to every variance, and 1/2 to pixels and mean alike: no noise is drawn.

    Args:
        x: Images, uint8 (n, ...).
        n_components: Number of axes, from 0, the mean image, to below the values in an image.

    Returns:
        scikit-learn's PCA, whose density p(x) is a Gaussian with isotropic noise around the axes.

    Raises:
        InputError: If the images are too large for a covariance matrix, or `n_components` is out of range.
    Source: Tipping and Bishop 1999, "Probabilistic principal component analysis", JRSS B 61.
    """
    n_dims = math.prod(x.shape[1:])
    if n_dims > MAX_DIMS:
        raise InputError(f"PCA takes images of at most {MAX_DIMS:,} values; received {n_dims:,}: resize them")
    most = min(n_dims - 1, len(x))
    if not 0 <= n_components <= most:
        raise InputError(f"n_components of PCA must be from 0 to {most}; received {n_components}")
    pca = PCA(n_components, svd_solver="covariance_eigh").fit(_flat(x))
    unbiased = (len(x) - 1) / len(x)  # from the sample variance to that of maximum likelihood
    pca.explained_variance_ = unbiased * pca.explained_variance_ + 1.0 / 12.0
    pca.noise_variance_ = unbiased * pca.noise_variance_ + 1.0 / 12.0
    return pca


def keep_components(pca: PCA, n_components: int) -> PCA:
    """Return the model of the first axes only: what `fit_pca` gives for fewer of them, at no cost.

    Raises:
        InputError: If there are not so many axes.
    """
    n_axes, n_dims = pca.components_.shape
    if not 0 <= n_components <= n_axes:
        raise InputError(f"n_components must be from 0 to the {n_axes} fitted; received {n_components}")
    kept = copy.copy(pca)
    kept.n_components_ = n_components
    kept.components_ = pca.components_[:n_components]
    kept.explained_variance_ = pca.explained_variance_[:n_components]
    dropped = pca.explained_variance_[n_components:].sum() + (n_dims - n_axes) * pca.noise_variance_
    kept.noise_variance_ = dropped / (n_dims - n_components)
    return kept


def log_prob_bound(pca: PCA, x: np.ndarray) -> np.ndarray:
    """Bound the log-probability of 8-bit images from below, in nats, shape (n,).

    An image has the probability P(x) that p assigns to its cell [x, x + 1)^n_dims: the cells do not
    overlap, so the P(x) sum to at most 1. By Jensen's inequality log P(x) is at least the mean of log p
    over the cell (uniform dequantisation), which is exact here, without sampling: log p is quadratic,
    so it is log p at the cell's centre less tr(C^-1) / 24.

    Args:
        pca: As `fit_pca` returns it.
        x: Images, uint8 (n, ...).
    Source: Theis et al. 2016, arXiv:1511.01844, section 3.1.
    """
    return pca.score_samples(_flat(x)) - np.trace(pca.get_precision()) / 24.0


def reconstruct(pca: PCA, x: np.ndarray) -> np.ndarray:
    """Return the projections of images on the axes: of all linear maps, the least squared error.

    Args:
        pca: As `fit_pca` returns it.
        x: Images, uint8 (n, ...).

    Returns:
        uint8, in the shape of x.
    """
    projected = (_flat(x) - pca.mean_) @ pca.components_.T @ pca.components_ + pca.mean_
    return np.clip(np.round(projected), 0, 255).astype("uint8").reshape(x.shape)


def _flat(x: np.ndarray) -> np.ndarray:
    return np.asarray(x).reshape(len(x), -1).astype("float64")


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
    per_mosaic, bits, n_values = min(per_mosaic, len(x)), 0, 0
    for i in range(0, len(x) - per_mosaic + 1, per_mosaic)[: n_mosaics or None]:
        pixels = mosaic(x[order[i : i + per_mosaic]])
        bits += 8 * len(encode(pixels, codec))
        n_values += pixels.size
    return bits / n_values, n_values // math.prod(x.shape[1:])


def encode(pixels: np.ndarray, codec: str) -> bytes:
    """Return one image, uint8 (h, w, c), as the bytes of a lossless file."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, **CODECS[codec])
    return file.getvalue()
