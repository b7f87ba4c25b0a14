"""Checks of images and reconstructions: their ranges, and what stands at the decoder's end."""

from collections.abc import Iterator

import numpy as np
from scipy.special import expit, logit

from vae_lib.apps.diagnosis.findings import Finding, check
from vae_lib.apps.diagnosis.losses import (
    N_IMAGES,
    Match,
    Reported,
    bce_from_logits,
    last_values,
    match,
    pixel_reductions,
    reconstruction_match,
    reconstruction_sums,
)

CLEAR = 0.5  # of the squared error that remains: a map that halves it is no accident
OUTSIDE = 0.01  # share of values beyond a range that is more than rounding
EXACT = 0.05  # in logarithms: of a loss that is told from another near it
_ONE = 0.731059  # sigmoid(1)

UNSCALED = 16  # standardised pixels stay far below, grey levels reach 255

# How x may come about from a reconstruction that is on another scale.
RESCALED = {
    "(reconstruction + 1) / 2": lambda r: (r + 1) / 2,
    "2 * reconstruction - 1": lambda r: 2 * r - 1,
    "255 * reconstruction": lambda r: 255 * r,
    "reconstruction / 255": lambda r: r / 255,
}
MAPS = {
    "as it is": lambda r: r,
    "sigmoid(reconstruction)": expit,
    **RESCALED,
}


@check("data range", "x", "reconstruction_loss loss_kind")
def data_range(x, reconstruction, reconstruction_loss, loss_kind) -> Iterator[Finding]:
    """Look for images that the decoder cannot reach, and for a cross-entropy below zero."""
    scale = "divide pixels by their largest possible value, such as 255.0, once, where they are loaded"
    if x is not None and reconstruction is not None:
        ranges = f"x goes from {_range(x)}, the reconstruction from {_range(reconstruction)}"
        best = best_map(x, reconstruction)
        beyond = _outside(x)
        if best in RESCALED and max(beyond, _outside(reconstruction)) > OUTSIDE:
            yield Finding(
                "data range",
                f"{ranges}, and x is nearer to {best} than to the reconstruction",
                f"{scale}; a decoder that ends in a sigmoid takes [0, 1], one with tanh [-1, 1]: x, loss and "
                "plots must have one range",
            )
            return
        if beyond > OUTSIDE and reconstruction.min() >= 0 and reconstruction.max() <= 1:
            yield Finding(
                "data range",
                f"{ranges}: {100 * beyond:.0f} % of the pixels are outside of what a sigmoid can give",
                f"{scale}; or end the decoder without a sigmoid, and use the squared error",
            )
            return
    if x is not None and x.max() > UNSCALED and x.min() >= 0:
        yield Finding(
            "data range",
            f"x goes from {_range(x)}: a squared error counts {x.max() ** 2:.4g} times as much as on [0, 1], "
            "and beta as much less",
            scale,
        )
    elif loss_kind == "bce" and reconstruction_loss is not None and (reconstruction_loss < 0).any():
        epoch = reconstruction_loss.index[reconstruction_loss < 0][0]
        yield Finding(
            "data range",
            f"the cross-entropy is {reconstruction_loss[epoch]:.4g} in epoch {epoch}: of pixels in [0, 1] it "
            "is never negative",
            scale,
        )


@check("logits taken for probabilities", "x reconstruction")
def logits(x, reconstruction) -> Iterator[Finding]:
    """Look for reconstructions that lack their sigmoid."""
    if _outside(reconstruction) > OUTSIDE and best_map(x, reconstruction) == "sigmoid(reconstruction)":
        yield Finding(
            "logits taken for probabilities",
            f"the reconstruction goes from {_range(reconstruction)}; after a sigmoid its squared error is "
            f"{_error(x, expit(reconstruction)):.3g} a pixel, before it {_error(x, reconstruction):.3g}",
            "apply a sigmoid to the decoder's output before it is shown or scored; the loss takes the "
            "logits, with from_logits=True",
        )


@check("sigmoid twice", "x reconstruction")
def sigmoid_twice(x, reconstruction, reconstruction_loss, val_reconstruction_loss, loss_kind, batch_size):
    """Look for probabilities that went through a second sigmoid, in the arrays or in the loss."""
    remedy = "either end the decoder with a sigmoid, or use from_logits=True and no sigmoid; not both"
    low, high = float(reconstruction.min()), float(reconstruction.max())
    if (
        low >= 0.499
        and high <= _ONE + 1e-3
        and _error(x, logit(np.clip(reconstruction, 0.5, _ONE))) < CLEAR * _error(x, reconstruction)
        and float(np.mean(x < 0.4)) > OUTSIDE
    ):
        yield Finding(
            "sigmoid twice",
            f"the reconstruction goes from {_range(reconstruction)}, as a sigmoid of values from 0 to 1 "
            f"does, while x goes from {_range(x)}",
            remedy,
        )
    elif reconstruction_loss is not None and loss_kind in (None, "bce") and not _outside(reconstruction):
        reported = last_values(val_reconstruction_loss, reconstruction_loss)
        if found := _second_sigmoid(x[:N_IMAGES], reconstruction[:N_IMAGES], reported, batch_size):
            yield Finding(
                "sigmoid twice",
                f"the reconstruction goes from {_range(reconstruction)}, so it has had its sigmoid; but the "
                f"reported loss of {found.reported:.4g} is {found.formula}, {found.reduction}",
                remedy,
            )


def _second_sigmoid(x, reconstruction, reported: list[Reported], batch_size: int | None) -> Match | None:
    """Return how a loss comes about that took probabilities for logits; None if it did not.

    Such a loss sees values from 0.5 to 0.731 only, so it cannot fall below what the best of these give.
    """
    factors, sums = pixel_reductions(x, batch_size), reconstruction_sums(x, reconstruction)
    twice = {"the cross-entropy of a sigmoid of it": bce_from_logits(x, reconstruction)}
    found = match(reported, twice, factors, EXACT)
    best = np.clip(x, 0.5, _ONE).astype(float)
    least = float(-(x * np.log(best) + (1 - x) * np.log1p(-best)).sum()) / len(x)
    if found is None or found.reported < least * found.factor:
        return None
    return None if match(reported, sums, {"": 1.0}, EXACT) else found


@check("no sigmoid", "x reconstruction loss_kind", "x reconstruction reconstruction_loss")
def no_sigmoid(x, reconstruction, reconstruction_loss, val_reconstruction_loss, loss_kind, batch_size):
    """Look for a cross-entropy of values that are no probabilities."""
    if _outside(reconstruction) <= OUTSIDE or best_map(x, reconstruction) != "as it is":
        return
    kind = loss_kind
    if kind is None and reconstruction_loss is not None:
        reported = last_values(val_reconstruction_loss, reconstruction_loss)
        found = reconstruction_match(x, reconstruction, reported, None, batch_size)
        kind = found and found.formula
    if kind == "bce":
        yield Finding(
            "no sigmoid",
            f"{100 * _outside(reconstruction):.0f} % of the reconstruction is outside [0, 1] (it goes from "
            f"{_range(reconstruction)}), and the loss is a cross-entropy: it clips these, without gradient",
            "end the decoder with a sigmoid, or use from_logits=True",
        )


def best_map(x: np.ndarray, reconstruction: np.ndarray) -> str:
    """Return the map that brings the reconstruction to x: `as it is`, unless another is clearly better."""
    x, r = x[:2000], reconstruction[:2000].astype(float)
    errors = {name: _error(x, function(r)) for name, function in MAPS.items()}
    best = min(errors, key=errors.get)
    return best if errors[best] < CLEAR * errors["as it is"] else "as it is"


def _error(x: np.ndarray, reconstruction: np.ndarray) -> float:
    return float(np.mean(np.square(x - reconstruction, dtype=float)))


def _outside(reconstruction: np.ndarray) -> float:
    """Return the share of values that are no probabilities."""
    return float(np.mean((reconstruction < -0.01) | (reconstruction > 1.01)))


def _range(values: np.ndarray) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"
