"""How sure a mean is: standard errors over images, 95 % Student t intervals over seeds.

Values of another shape, or none, raise a ValueError that names the shapes received.
"""

from numpy.typing import ArrayLike
from scipy import stats

from vae_lib.metrics.shapes import check_shapes

_REMEDY = "Pass one value for each run or image, and for pairs the seeds that both have."


def standard_error(values: ArrayLike) -> float:
    """Monte-Carlo standard error of the mean of independent values, NaN for a single one.

    Over images it says how well the test set fixes a mean; it says nothing about other seeds.

    Args:
        values: Independent values, shape (n,).

    Returns:
        Sample standard deviation / sqrt(n), in the unit of `values`.
    """
    (values,) = check_shapes(_REMEDY, float, values=(values, "n"))
    return float(stats.sem(values)) if len(values) > 1 else float("nan")


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """Mean over seeds and the half-width of its 95 % Student t interval.

    Args:
        values: One value for each seed, shape (n,).

    Returns:
        (mean, half_width): read as mean +- half_width. One seed has no interval: its half-width is NaN.
    """
    (values,) = check_shapes(_REMEDY, float, values=(values, "n"))
    quantile = stats.t.ppf(0.975, df=len(values) - 1)
    return float(values.mean()), float(quantile * standard_error(values))


def paired_difference(a: ArrayLike, b: ArrayLike) -> tuple[float, float]:
    """Mean of a - b over pairs that share a seed, with its 95 % Student t interval.

    Args:
        a: One value for each seed, shape (n,).
        b: The other condition under the same seeds, in the same order.

    Returns:
        (mean, half_width) of a - b; the difference is resolved if the half-width is below |mean|.
    """
    a, b = check_shapes(_REMEDY, float, a=(a, "n"), b=(b, "n"))
    return mean_interval(a - b)
