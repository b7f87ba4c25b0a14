"""Scores of a trained VAE on images: runs the model, hands arrays to the pure metrics."""

import math

import numpy as np

from vae_lib.metrics.intervals import standard_error
from vae_lib.metrics.reconstruction import mse, psnr
from vae_lib.models.vae import NOISE_SEED


def evaluate(vae, x: np.ndarray, y: np.ndarray | None = None) -> dict[str, float]:
    """Score held-out images: the beta = 1 ELBO at sampled z, whatever beta the model was trained with.

    Args:
        vae: A VAE.
        x: Images, uint8 (n, h, w, c).
        y: Labels (n,) for a conditional model.

    Returns:
        `elbo`, `elbo_standard_error`, `distortion`, `rate` (nats per image), `bits_per_dim` where the
        likelihood has them, `mse` (0..255 squared) and `psnr` (dB) of reconstructions, `n`. Undefined scores,
        such as the standard error of one image, are left out.
    """
    x = vae.as_observed(x)
    terms = {name: values.astype("float64") for name, values in vae.elbo_terms(x, y, seed=NOISE_SEED).items()}
    scores = {name: float(values.mean()) for name, values in terms.items()}
    scores["elbo_standard_error"] = standard_error(terms["elbo"])
    if vae.likelihood.has_bits_per_dim:
        scores["bits_per_dim"] = vae.likelihood.bits_per_dim(-scores["elbo"], vae.image_shape)
    reconstruction = vae.reconstruct(x, y)
    scores |= {"mse": mse(x, reconstruction), "psnr": psnr(x, reconstruction), "n": len(x)}
    return {name: value for name, value in scores.items() if math.isfinite(value)}
