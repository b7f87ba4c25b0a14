"""Scores of a trained VAE on images: runs the model, hands arrays to the pure measures."""

import math

import numpy as np

from vae_lib.metrics.elbo import RunningLogMeanExp
from vae_lib.metrics.intervals import standard_error
from vae_lib.metrics.reconstruction import mse, psnr

NOISE_SEED = 20_131_220  # scores of all models see the same noise


def binarize_images(x: np.ndarray, seed: int = NOISE_SEED) -> np.ndarray:
    """Return uint8 images of 0 and 255, each pixel on with its grey level as probability.

    Source: Salakhutdinov and Murray 2008 (binarised MNIST, drawn once for the test images).
    """
    rng, pixels = np.random.default_rng(seed), np.empty(x.shape, "uint8")
    for i in range(len(x)):  # one at a time, for memory
        pixels[i] = np.where(rng.random(x.shape[1:]) < x[i] / 255.0, 255, 0)
    return pixels


def mean_elbo_terms(
    vae, x: np.ndarray, y: np.ndarray | None = None, n_samples: int = 1
) -> dict[str, np.ndarray]:
    """Average the ELBO of each image over draws of z from q(z|x), never taking z = z_mean.

    Args:
        vae: A VAE.
        x: Images, uint8 (n, h, w, c).
        y: Labels (n,) for a conditional model.
        n_samples: Draws of z an image.

    Returns:
        `elbo`, `distortion` and `rate` in nats, float64 arrays of shape (n,).
    """
    draws = [vae.elbo_terms(x, y, seed=NOISE_SEED + i) for i in range(n_samples)]
    return {name: np.mean([draw[name] for draw in draws], axis=0, dtype="float64") for name in draws[0]}


def importance_bounds(
    vae, x: np.ndarray, y: np.ndarray | None = None, n_samples: tuple[int, ...] = (50,), block: int = 100
) -> dict[int, np.ndarray]:
    """Bound log p(x) of each image by the log of the mean of K importance weights (IWAE-K).

    The weights are taken in blocks, so that memory does not grow with K.

    Args:
        vae: A VAE.
        x: Images, uint8 (n, h, w, c); binarised once if the model binarises.
        y: Labels (n,) for a conditional model.
        n_samples: The values of K to report.
        block: Weights an image at a time.

    Returns:
        K -> nats, shape (n,). Higher is better; the bound rises with K.
    Source: Burda et al. 2016, arXiv:1509.00519.
    """
    x = binarize_images(x) if vae.binarize else x
    running, bounds = RunningLogMeanExp(), {}
    for i, k in enumerate(_blocks(n_samples, block)):
        running.update(vae.log_weights(x, y, n_samples=k, seed=NOISE_SEED + i))
        if running.count in n_samples:
            bounds[running.count] = running.value
    return bounds


def _blocks(stops: tuple[int, ...], block: int) -> list[int]:
    """Return sizes of at most `block` whose running sum meets every stop."""
    sizes, done = [], 0
    for stop in sorted(stops):
        while done < stop:
            sizes.append(min(block, stop - done))
            done += sizes[-1]
    return sizes


def evaluate(vae, x: np.ndarray, y: np.ndarray | None = None, n_samples: int = 1) -> dict[str, float]:
    """Score held-out images: the beta = 1 ELBO whatever beta the model was trained with.

    Args:
        vae: A VAE.
        x: Images, uint8 (n, h, w, c).
        y: Labels (n,) for a conditional model.
        n_samples: Draws of z an image.

    Returns:
        `elbo`, `elbo_standard_error`, `distortion`, `rate` (nats per image), `bits_per_dim` where the
        likelihood has them, `mse` (0..255 squared) and `psnr` (dB) of reconstructions, `n`.
    """
    x = binarize_images(x) if vae.binarize else x
    terms = mean_elbo_terms(vae, x, y, n_samples)
    scores = {name: float(values.mean()) for name, values in terms.items()}
    scores["elbo_standard_error"] = standard_error(terms["elbo"])
    if vae.likelihood.has_bits_per_dim:
        scores["bits_per_dim"] = vae.likelihood.bits_per_dim(-scores["elbo"], vae.image_shape)
    reconstruction = vae.reconstruct(x, y)
    scores["mse"] = mse(x, reconstruction)
    scores["psnr"] = psnr(x, reconstruction)
    scores["n"] = len(x)
    # What one image or a perfect reconstruction leaves undefined is left out.
    return {name: value for name, value in scores.items() if math.isfinite(value)}
