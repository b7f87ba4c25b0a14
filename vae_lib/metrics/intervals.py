"""How sure a mean is: standard errors over images, Student t intervals over seeds."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def _vector(name: str, values: ArrayLike) -> np.ndarray:
    """Return `values` as a non-empty float64 vector, or raise a ValueError that names it."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"`{name}` must hold one value for each run or image, shape (n,); received shape {array.shape}. "
            "Average over the other axes first."
        )
    return array


def standard_error(values: ArrayLike) -> float:
    """Monte-Carlo standard error of the mean of independent values, NaN for a single one.

    Over images it says how well the test set fixes a mean; it says nothing about other seeds.

    Args:
        values: Independent values, shape (n,).

    Returns:
        Sample standard deviation / sqrt(n), in the unit of `values`.

    Raises:
        ValueError: If `values` is empty or not one-dimensional.
    """
    values = _vector("values", values)
    return float(stats.sem(values)) if len(values) > 1 else float("nan")


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Mean over seeds and the half-width of its Student t interval.

    Args:
        values: One value for each seed, shape (n,).
        level: Coverage of the interval, between 0 and 1.

    Returns:
        (mean, half_width): read as mean +- half_width. One seed has no interval: its half-width is NaN.

    Raises:
        ValueError: If `values` is empty or not one-dimensional, or `level` is outside (0, 1).
    """
    values = _vector("values", values)
    if not 0.0 < level < 1.0:
        raise ValueError(f"`level` must lie between 0 and 1; received {level}. Pass 0.95 for 95 %.")
    if len(values) == 1:
        return float(values[0]), float("nan")
    quantile = stats.t.ppf(0.5 + level / 2.0, df=len(values) - 1)
    return float(values.mean()), float(quantile * standard_error(values))


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Mean of a - b over pairs that share a seed, with its Student t interval.

    Args:
        a: One value for each seed, shape (n,).
        b: The other condition under the same seeds, in the same order.
        level: Coverage of the interval, between 0 and 1.

    Returns:
        (mean, half_width) of a - b; the difference is resolved if the half-width is below |mean|.

    Raises:
        ValueError: If the lengths differ, or as in `mean_interval`.
    """
    a, b = _vector("a", a), _vector("b", b)
    if len(a) != len(b):
        raise ValueError(
            f"`a` and `b` must be pairs; received {len(a)} and {len(b)} values. Keep the seeds both have."
        )
    return mean_interval(a - b, level)
