"""Checks of the loss: what was summed, averaged or left out, and which beta that makes.

A reported loss is compared with what the arrays give under each usual formula and reduction. The sum over
pixels or latents, averaged over images, is right; another ratio of the two terms is another beta.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import softplus

from vae_lib.apps.diagnosis.findings import Finding, check
from vae_lib.apps.diagnosis.kl_weight import loss_weights

# Reported losses are of sampled z, and of other images than the arrays: on MNIST they differ by up to 15 %.
NEAR = {"reconstruction": 0.2, "kl": 0.15}  # in natural logarithms
# What is added to a distance, so that of two explanations the usual one is taken unless it fits less well.
UNLIKELY = {
    "l1": 0.1,
    "twice the KL": 0.1,
    "only its half of the means": 0.3,
    "only its half of the variances": 0.3,
}
UNLIKELY_REDUCTION = 0.1
MIN_KL = 0.05  # nats per image: below, the KL falls from epoch to epoch by factors
NEAR_BETA = 0.2  # in natural logarithms: a beta of 1.2 for 1 may be the arrays' being of other images
GREY = 0.05  # share of pixels that are neither black nor white: MNIST has 0.11, binarised images none
EPSILON = 1e-7  # Keras' clipping of probabilities
N_IMAGES = 2000  # of the arrays, that a loss is computed of


class Reported(NamedTuple):
    """The last value of a loss, and by how much it still changed, in natural logarithms.

    An epoch's mean lags behind the weights at its end, which the arrays are of.
    """

    value: float
    drift: float


class Match(NamedTuple):
    """How a reported loss comes about: `factor` times the sum over an image of `formula`."""

    formula: str
    reduction: str
    factor: float
    reported: float


def match(reported: list[Reported], sums: dict[str, float], factors: dict[str, float], near: float):
    """Return how a reported loss comes about, a `Match`, or None if no formula and reduction give it.

    Args:
        reported: The loss on images of the training, or on held-out ones: one of them must be met.
        sums: Formula -> its sum over an image, averaged over images.
        factors: Reduction -> by what it multiplies the sum.
        near: Largest distance in natural logarithms.
    """
    found = []
    for loss in reported:
        for formula, total in sums.items():
            for reduction, factor in factors.items():
                if loss.value > 0 and total > 0:
                    distance = abs(math.log(loss.value / (total * factor)))
                    unlikely = UNLIKELY.get(formula, 0.0) + (UNLIKELY_REDUCTION if factor != 1 else 0.0)
                    if distance <= near + (0.0 if unlikely else 2 * loss.drift):
                        found.append((distance + unlikely, Match(formula, reduction, factor, loss.value)))
    return min(found)[1] if found else None


def reconstruction_match(x, reconstruction, reported, loss=None, batch_size=None) -> Match | None:
    """Return how the reported reconstruction loss comes about."""
    sums = reconstruction_sums(x[:N_IMAGES], reconstruction[:N_IMAGES])
    sums = {name: total for name, total in sums.items() if loss is None or name.startswith(loss)}
    factors = pixel_reductions(x, batch_size)
    return match(reported, sums, factors, NEAR["reconstruction"])


def pixel_reductions(x: np.ndarray, batch_size: int | None) -> dict[str, float]:
    """Return the usual reductions of a loss of pixels -> by what each multiplies the sum over an image."""
    factors = {"summed over pixels, averaged over images": 1.0, "averaged over all pixels": 1 / x[0].size}
    if x.ndim == 4 and x.shape[3] > 1:
        factors["averaged over the channels"] = 1 / x.shape[3]
        factors["averaged over the pixels, summed over channels"] = x.shape[3] / x[0].size
    if x.ndim == 3:
        factors["averaged over the last axis"] = 1 / x.shape[2]
    return with_batch(factors, batch_size)


def kl_match(z_mean, z_log_var, reported, n_pixels=None, batch_size=None) -> Match | None:
    """Return how the reported KL comes about."""
    means = 0.5 * float(np.square(z_mean, dtype=float).sum(axis=1).mean())
    widths = 0.5 * float((np.expm1(z_log_var, dtype=float) - z_log_var).sum(axis=1).mean())
    if means + widths < MIN_KL:
        return None
    sums = {
        "the KL": means + widths,
        "twice the KL": 2 * (means + widths),
        "only its half of the means": means,
        "only its half of the variances": widths,
    }
    factors = {
        "summed over latents, averaged over images": 1.0,
        "averaged over latents": 1 / z_mean.shape[1],
        "divided by the number of pixels": 1 / (n_pixels or math.inf),
    }
    factors = {name: factor for name, factor in factors.items() if factor}
    return match(reported, sums, with_batch(factors, batch_size), NEAR["kl"])


def with_batch(factors: dict[str, float], batch_size: int | None) -> dict[str, float]:
    """Add each reduction once more, with a sum over the batch, unless it comes to the same as one without."""
    summed = {
        f"{name.replace(', averaged over images', '')}, and summed over the batch": factor * batch_size
        for name, factor in (factors.items() if batch_size else ())
    }
    return factors | {
        name: factor
        for name, factor in summed.items()
        if not any(math.isclose(factor, other) for other in factors.values())
    }


@check("true beta", "x reconstruction reconstruction_loss", "z_mean z_log_var kl_loss prior")
def true_beta(
    x, reconstruction, reconstruction_loss, z_mean, z_log_var, kl_loss, prior, val_reconstruction_loss,
    val_kl_loss, loss, loss_kind, batch_size, beta,
) -> Iterator[Finding]:  # fmt: skip
    """Compare the reductions of the two terms of the loss."""
    pixels = kl = None
    if x is not None and reconstruction is not None and reconstruction_loss is not None:
        reported = last_values(val_reconstruction_loss, reconstruction_loss)
        pixels = reconstruction_match(x, reconstruction, reported, loss_kind, batch_size)
        if pixels is None and loss_kind != "other":
            yield _unknown_reduction(x, reconstruction, reported[0].value, batch_size)
    if z_mean is not None and z_log_var is not None and kl_loss is not None and prior is not None:
        n_pixels = x[0].size if x is not None else None
        kl = kl_match(z_mean, z_log_var, last_values(val_kl_loss, kl_loss), n_pixels, batch_size)
    said = [
        f"the {name} of {term.reported:.4g} is {term.formula} {term.reduction}"
        for name, term in (("reconstruction loss", pixels), ("KL", kl))
        if term is not None and term.factor != 1
    ]
    of_pixels, of_kl = (1.0 if term is None else term.factor for term in (pixels, kl))
    weights = loss_weights(loss, reconstruction_loss, kl_loss)
    weight = abs(weights.ratio) if weights else beta if beta is not None else 1.0
    intended = beta if beta is not None else weight if weights is None or weights.is_plain else 1.0
    true = weight * of_kl / of_pixels
    if not intended or not true or not (said or weights is None or weights.steady):
        return  # an autoencoder, or annealing, which has a check of its own
    off = abs(math.log(true / intended))
    sums = "sum both terms over pixels, channels and latents, and average over images"
    if off > (NEAR_BETA if said else 2 * NEAR_BETA):
        told = weights is not None or beta is not None
        added = "the loss adds the KL" + (f" with weight {weight:.4g}" if told else ", as it seems, as it is")
        yield Finding(
            "true beta",
            f"{'; '.join([*said, added])}: that is a beta of {true:.4g}, not of {intended:.4g}",
            f"{sums}; or keep the loss, and call its beta {true:.4g}",
        )
    elif said and abs(math.log(of_pixels)) > NEAR_BETA and (weights is None or weights.is_plain):
        yield Finding(
            "scale of the loss",
            f"{'; '.join(said)}: beta stays as it was set, but the gradients have another scale",
            f"{sums}, and losses can be compared",
            is_fault=False,
        )


def _unknown_reduction(x, reconstruction, reported: float, batch_size) -> Finding:
    sums = reconstruction_sums(x[:N_IMAGES], reconstruction[:N_IMAGES])
    weight = reported / max(sums["mse"], EPSILON)
    of_bce = reported / (sums["bce"] or EPSILON)
    gaussian = f" (a Gaussian of standard deviation {(2 * weight) ** -0.5:.3g})" if weight > 0 else ""
    batch = "" if batch_size else ", and --batch_size, in case it was summed over the batch"
    return Finding(
        "unknown reconstruction loss",
        f"{reported:.4g} is {of_bce:.3g} x bce, {weight:.3g} x mse{gaussian}, each "
        "summed over pixels and averaged over images: no usual reduction",
        f"say what it is with --loss{batch}; and give arrays of the images that the history's last row is of",
        is_fault=False,
    )


@check("formula of the KL", "z_mean z_log_var kl_loss prior")
def kl_formula(z_mean, z_log_var, kl_loss, val_kl_loss, prior, batch_size) -> Iterator[Finding]:
    """Compare the reported KL with its formula, with twice its value, and with either half of its terms."""
    found = kl_match(z_mean, z_log_var, last_values(val_kl_loss, kl_loss), batch_size=batch_size)
    if found is not None and found.formula != "the KL":
        effect = {
            "twice the KL": "its factor 1/2 is missing, so the true beta is twice the one that was set",
            "only its half of the means": "nothing holds the variances",
            "only its half of the variances": "nothing holds the means",
        }[found.formula]
        yield Finding(
            "formula of the KL",
            f"{found.reported:.4g} was reported, which is {found.formula} of these codes, {found.reduction}: "
            f"{effect}",
            "use -0.5 * sum(1 + z_log_var - z_mean**2 - exp(z_log_var)), with all four terms and the 0.5",
        )


@check("sign of the KL", "kl_loss")
def kl_sign(kl_loss, loss, reconstruction_loss) -> Iterator[Finding]:
    """Look for a KL below zero, or one that the loss subtracts."""
    remedy = "add beta * KL, with KL = -0.5 * sum(1 + z_log_var - z_mean**2 - exp(z_log_var))"
    negative = bool((kl_loss < 0).all()) and abs(kl_loss.median()) > 1e-6
    weights = loss_weights(loss, reconstruction_loss, kl_loss)
    weight = weights.of_kl if weights else None
    last = f"{kl_loss.iloc[-1]:.4g}"
    if weight is not None and weight * kl_loss.iloc[-1] < 0:
        yield Finding(
            "sign of the KL",
            f"the loss is the reconstruction loss {'-' if weight < 0 else '+'} {abs(weight):.3g} x the KL, "
            f"which is {last}: it falls as the KL grows",
            remedy,
        )
    elif negative and weight is not None:
        yield Finding(
            "sign of the KL in the history",
            f"the history has the KL as {last}, a KL is never negative; the loss adds it rightly",
            "log it with its own sign",
            is_fault=False,
        )
    elif negative:
        yield Finding("sign of the KL", f"it is {last}, and a KL is never negative", remedy)


@check("cross-entropy of grey pixels", "x reconstruction reconstruction_loss", "x loss_kind")
def grey_cross_entropy(
    x, reconstruction, reconstruction_loss, val_reconstruction_loss, loss_kind, batch_size
):
    """Tell a cross-entropy of grey pixels from a likelihood."""
    grey = float(np.mean((x > 0.02) & (x < 0.98)))
    kind = loss_kind
    if kind is None and reconstruction_loss is not None and reconstruction is not None:
        reported = last_values(val_reconstruction_loss, reconstruction_loss)
        found = reconstruction_match(x, reconstruction, reported, None, batch_size)
        kind = found and found.formula
    if kind and kind.startswith("bce") and grey > GREY and x.min() >= 0 and x.max() <= 1:
        yield Finding(
            "cross-entropy of grey pixels",
            f"{100 * grey:.0f} % of the pixels are neither 0 nor 1: there it is a useful loss, but no "
            "likelihood, and its ELBO cannot be compared with that of other likelihoods",
            "binarise the images, or use a likelihood of 8-bit pixels where numbers are compared",
            is_fault=False,
        )


def last_values(*series: pd.Series | None) -> list[Reported]:
    """Return the last value of each series that there is."""
    return [Reported(values.iloc[-1], _drift(values.iloc[-2:])) for values in series if values is not None]


def _drift(last: pd.Series) -> float:
    return abs(math.log(last.iloc[-1] / last.iloc[0])) if (last > 0).all() else 0.0


def reconstruction_sums(x: np.ndarray, reconstruction: np.ndarray) -> dict[str, float]:
    """Return each usual loss, summed over an image and averaged over images."""
    n, r = len(x), reconstruction.astype(float)
    p = np.clip(r, EPSILON, 1 - EPSILON)
    squares = float(np.square(x - r).sum()) / n
    sums = {
        "bce": -float((x * np.log(p) + (1 - x) * np.log1p(-p)).sum()) / n,
        "mse": squares,
        "mse / 2": squares / 2,
        "l1": float(np.abs(x - r).sum()) / n,
    }
    if r.min() < 0 or r.max() > 1:
        sums["bce from logits"] = bce_from_logits(x, r)
    return sums


def bce_from_logits(x: np.ndarray, logits: np.ndarray) -> float:
    """Return the cross-entropy of sigmoid(logits), summed over an image and averaged over images, in nats."""
    logits = logits.astype(float)
    return float((softplus(logits) - x * logits).sum()) / len(x)
