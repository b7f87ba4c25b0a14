"""The one check of shapes, and of NaN and infinity, that every metric makes of its arguments."""

import numpy as np
from numpy.typing import ArrayLike, DTypeLike


def check_shapes(remedy: str, dtype: DTypeLike = None, **arrays: tuple[ArrayLike, str]) -> list[np.ndarray]:
    """Return the arrays, or raise a ValueError unless their shapes fit together and all values are finite.

    Args:
        remedy: What to pass instead: the end of the message.
        dtype: Type to convert the arrays to; None leaves each as it is.
        arrays: Name -> array and its axes, such as "n latent_dim>=2". An axis has at least the length given,
            or 1; axes of one name have one length.
    """
    found = {name: np.asarray(array, dtype) for name, (array, _) in arrays.items()}
    lengths: dict[str, int] = {}

    def fits(array: np.ndarray, axes: list[str]) -> bool:
        parts = [axis.partition(">=") for axis in axes]
        return array.ndim == len(axes) and all(
            length >= int(least or 1) and lengths.setdefault(name, length) == length
            for (name, _, least), length in zip(parts, array.shape, strict=True)
        )

    if not all(fits(found[name], axes.split()) for name, (_, axes) in arrays.items()):
        expected = ", ".join(f"`{name}` ({axes.replace(' ', ', ')})" for name, (_, axes) in arrays.items())
        expected = expected.replace(">=", " >= ")
        received = ", ".join(f"{name} {array.shape}" for name, array in found.items())
        raise ValueError(f"Expected {expected}, none of them empty; received {received}. {remedy}")
    return check_finite(**found)


def check_finite(**arrays: np.ndarray) -> list[np.ndarray]:
    """Return the arrays, or raise a ValueError that names the first with NaN or infinite values.

    One NaN would otherwise pass through comparisons and sorting, and end as a number that means nothing.
    """
    for name, array in arrays.items():
        bad = array.size - np.isfinite(array).sum() if array.dtype.kind in "fc" else 0
        if bad:
            raise ValueError(f"`{name}` has {bad:,} of {array.size:,} values that are NaN or infinite.")
    return list(arrays.values())
