"""Sample quality: how two sets of images differ, measured on their features.

Features are whatever space the caller names: those of a classifier trained on the data set, or pixels. A
distance is comparable only within one feature space and at one n, so state both, and show the floor: the
same measure between two halves of the real data at that n. None of these is FID or KID, which fix
Inception features. Sets that do not fit together, or are too small, raise a ValueError with their shapes.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, stats
from sklearn.metrics import pairwise_distances_argmin_min, pairwise_distances_chunked
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

from vae_lib.metrics.shapes import check_shapes

_BLOCKS, _DEGREE = 10, 3  # of the kernel distance: disjoint blocks, and the highest moment compared
_REMEDY = "Flatten enough images with `x.reshape(len(x), -1)` and use one feature extractor for all."


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Squared Frechet (2-Wasserstein) distance between Gaussians fitted to two sets of features.

    |mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). Biased upwards, roughly as 1/n: equal
    distributions do not give 0 at finite n. Sees means and covariances only.

    Args:
        a: Features of one set, shape (n, n_features), n at least 2.
        b: Features of the other, shape (m, n_features), m at least 2.

    Returns:
        The squared distance, in squared feature units, at least 0. Lower is closer.
    Source: Dowson & Landau 1982; on Inception features (FID): Heusel et al. 2017, arXiv:1706.08500.
    """
    a, b = check_shapes(_REMEDY, float, a=(a, "n>=2 n_features"), b=(b, "m>=2 n_features"))
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    # tr (C_a C_b)^(1/2) is the sum of roots of the eigenvalues of the symmetric C_a^(1/2) C_b C_a^(1/2),
    # which stays real and exact where the covariances are singular and `scipy.linalg.sqrtm` is not
    values, vectors = linalg.eigh(cov_a)
    root_a = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
    cross = linalg.eigvalsh(root_a @ cov_b @ root_a).clip(min=0.0)
    shift = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    return float(max(0.0, shift + np.trace(cov_a) + np.trace(cov_b) - 2.0 * np.sqrt(cross).sum()))


def kernel_distance(a: ArrayLike, b: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """Unbiased squared maximum mean discrepancy with KID's kernel (x.y / n_features + 1)^3.

    Both sets are shuffled and cut into ten disjoint blocks. Unlike KID's overlapping subsets, disjoint
    blocks are independent: their standard error is valid and every sample counts once. The
    expectation does not depend on n and is 0 for equal distributions, so a value may be negative.

    Args:
        a: Features of one set, shape (n, n_features), n at least 20.
        b: Features of the other, shape (m, n_features), m at least 20.
        seed: Seed of the shuffle.

    Returns:
        (mean, standard_error) over blocks. Lower is closer.
    Source: Binkowski et al. 2018, arXiv:1801.01401, section 4; Gretton et al. 2012, JMLR 13, lemma 6; blocks:
        Zaremba et al. 2013, arXiv:1307.1954.
    """
    least = f">={2 * _BLOCKS} n_features"
    a, b = check_shapes(_REMEDY, float, a=(a, "n" + least), b=(b, "m" + least))
    rng = np.random.default_rng(seed)
    blocks = zip(*(np.array_split(rng.permutation(x), _BLOCKS) for x in (a, b)), strict=True)
    estimates = [_unbiased_mmd(block_a, block_b) for block_a, block_b in blocks]
    return float(np.mean(estimates)), float(stats.sem(estimates))


def _unbiased_mmd(a: np.ndarray, b: np.ndarray) -> float:
    """The U-statistic of the squared MMD: pairs of one set without the diagonal."""

    def within(x: np.ndarray) -> float:
        kernel = polynomial_kernel(x, degree=_DEGREE, coef0=1.0)  # gamma = 1 / n_features
        return (kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1))

    return within(a) + within(b) - 2.0 * polynomial_kernel(a, b, degree=_DEGREE, coef0=1.0).mean()


def precision_recall(real: ArrayLike, generated: ArrayLike, n_neighbors: int = 3) -> dict[str, float]:
    """Share of generated samples on the real manifold (precision), and the reverse (recall).

    The manifold of a set is the union of balls around its samples, each reaching to the sample's
    `n_neighbors`-th neighbour within the set. Both shares depend on n and on `n_neighbors`, and one outlier
    with its large ball can raise either: state n, and use equal n for both sets.

    Args:
        real: Features of real images, shape (n, n_features), n above `n_neighbors`.
        generated: Features of generated images, shape (m, n_features), m above `n_neighbors`.
        n_neighbors: Neighbour that sets a ball's radius, itself not counted.

    Returns:
        {"precision", "recall"}, each 0 to 1. Higher is better.
    Source: Kynkaanniemi et al. 2019, arXiv:1904.06991, section 2.
    """
    least = f">={n_neighbors + 1} n_features"
    sets = {"real": (real, "n" + least), "generated": (generated, "m" + least)}
    real, generated = check_shapes(_REMEDY, float, **sets)
    return {
        "precision": _share_inside(generated, real, n_neighbors),
        "recall": _share_inside(real, generated, n_neighbors),
    }


def _share_inside(points: np.ndarray, support: np.ndarray, n_neighbors: int) -> float:
    """Share of `points` that lie in at least one ball of `support`."""
    # asked for the neighbours of its own fitted points, scikit-learn leaves each point itself out
    distances, _ = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(support).kneighbors()
    radii = distances[:, -1]
    chunks = pairwise_distances_chunked(
        points, support, reduce_func=lambda distance, start: (distance <= radii).any(axis=1)
    )
    return float(np.concatenate(list(chunks)).mean())


def nearest_neighbours(
    samples: ArrayLike, train: ArrayLike, test: ArrayLike, quantile: float = 0.01
) -> dict[str, np.ndarray]:
    """Look for copies: samples nearer to a training image than held-out images ever are.

    The distance of test images to the training set is what new images of this distribution look like. A
    sample counts as copied where its own distance is at most the `quantile` of those, so a generator as
    good as new data has a copied share of about `quantile`. Beware of blur: in pixels, smooth decoder means
    lie near the training images without copying any: use classifier features, and look at the pairs.

    Args:
        samples: Features of generated images, shape (n, n_features).
        train: Features of the training images, shape (m, n_features).
        test: Features of held-out images, shape (k, n_features).
        quantile: Share of held-out images that may lie as near as a copy, between 0 and 1.

    Returns:
        index: Nearest training image of each sample, shape (n,).
        distance: Distance to it, Euclidean, shape (n,).
        test_distance: The same for the held-out images, shape (k,).
        copied: Whether the sample counts as copied, bool, shape (n,); compare its mean with `quantile`.

    Raises:
        ValueError: If the shapes do not fit or `quantile` is outside (0, 1).
    Source: after the data-copying test of Meehan et al. 2020, arXiv:2004.05675, with a quantile for its U
        statistic and without its cells.
    """
    if not 0.0 < quantile < 1.0:
        raise ValueError(f"`quantile` must lie between 0 and 1; received {quantile}. Pass 0.01 for 1 %.")
    sets = {"samples": (samples, "n d"), "train": (train, "m d"), "test": (test, "k d")}
    samples, train, test = check_shapes(_REMEDY, float, **sets)
    index, distance = pairwise_distances_argmin_min(samples, train)
    _, test_distance = pairwise_distances_argmin_min(test, train)
    copied = distance <= np.quantile(test_distance, quantile)
    return {"index": index, "distance": distance, "test_distance": test_distance, "copied": copied}
