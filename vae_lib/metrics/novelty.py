"""How unlike the images of a data set an image is, by scores of both; how well a score tells sets apart.

Arrays that do not have the shapes given raise a ValueError that names them.
"""

import numpy as np
from numpy.typing import ArrayLike

from vae_lib.metrics.shapes import check_shapes

_NORMAL_QUANTILE = 1.959964  # of 97.5 %
_REMEDY = "Pass one value for each image."


def typicality(scores: ArrayLike, reference: ArrayLike) -> np.ndarray:
    """Distance of scores from their mean over images of the data set, in the unit of the scores.

    Both what is less likely and what is likelier than the data is untypical of it.

    Args:
        scores: Log-likelihoods or bounds of them, or bits, shape (n,).
        reference: The same of images that the model was made for, shape (m,).
    Source: Nalisnick et al. 2019, arXiv:1906.02994, section 3, for single images.
    """
    scores, reference = check_shapes(_REMEDY, float, scores=(scores, "n"), reference=(reference, "m"))
    return np.abs(scores - reference.mean())


def percentile(scores: ArrayLike, reference: ArrayLike) -> np.ndarray:
    """Return which share of the reference is below each score, in per cent, shape (n,)."""
    scores, reference = check_shapes(_REMEDY, float, scores=(scores, "n"), reference=(reference, "m"))
    return 100.0 * np.searchsorted(np.sort(reference), scores, side="left") / len(reference)


def mahalanobis(z: ArrayLike, reference: ArrayLike) -> np.ndarray:
    """Distance from the reference's mean in units of its standard deviation along each direction.

    Args:
        z: Points, shape (n, n_features).
        reference: Points whose mean and covariance are taken, shape (m, n_features). Directions in which
            they do not vary at all are left out.

    Returns:
        Distances, shape (n,).
    Source: Lee et al. 2018, arXiv:1807.03888, with one class.
    """
    shapes = {"z": (z, "n n_features"), "reference": (reference, "m>=2 n_features")}
    z, reference = check_shapes("Pass the codes of both.", float, **shapes)
    precision = np.linalg.pinv(np.atleast_2d(np.cov(reference.T)), hermitian=True)
    offset = z - reference.mean(axis=0)
    return np.sqrt(np.einsum("ni,ij,nj->n", offset, precision, offset).clip(0))


def auroc(inside: ArrayLike, outside: ArrayLike) -> float:
    """Probability that a score of an image outside is above one inside, ties counting half.

    Args:
        inside: Scores of images of the data set, higher for what is less like it, shape (n,).
        outside: Scores of other images, shape (m,).

    Returns:
        The area under the receiver operating characteristic: 1 if all outside are above all inside, 0.5 for
        a score that says nothing, below it for one that takes those outside for the better ones.
    """
    return auroc_interval(inside, outside)[0]


def auroc_interval(inside: ArrayLike, outside: ArrayLike) -> tuple[float, float]:
    """AUROC and the half-width of its 95 % interval over images, those inside and outside being independent.

    It says how well the images fix the area for one model, and nothing about other training seeds.

    Args:
        inside: As of `auroc`, shape (n,).
        outside: As of `auroc`, shape (m,).

    Returns:
        (auroc, half_width); with one image on a side, the half-width is NaN.
    Source: DeLong et al. 1988, "Comparing the areas under two or more correlated ROC curves", Biometrics 44.
    """
    inside, outside = check_shapes(_REMEDY, float, inside=(inside, "n"), outside=(outside, "m"))
    below = _share_below(outside, inside)  # of each outside, how many inside it beats
    above = 1.0 - _share_below(inside, outside)
    if min(len(inside), len(outside)) < 2:
        return float(below.mean()), float("nan")
    variance = below.var(ddof=1) / len(below) + above.var(ddof=1) / len(above)
    return float(below.mean()), float(_NORMAL_QUANTILE * np.sqrt(variance))


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which share of the others is below each value, ties counting half."""
    others = np.sort(others)
    ranks = sum(np.searchsorted(others, values, side=side) for side in ("left", "right"))
    return ranks / (2.0 * len(others))
