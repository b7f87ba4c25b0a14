"""Likelihood and bottleneck: what a VAE's numbers mean, from arrays alone.

Every value is in nats, summed over pixels or latents and averaged over images, unless its name says
otherwise. A *log-weight* is `log p(x|z) + log p(z) - log q(z|x)` of one z drawn from q(z|x): the mean of
K of them estimates the ELBO of an image, their log-mean-exp is IWAE-K. Arrays that do not have the shapes
given raise a ValueError that names them.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from vae_lib.metrics.shapes import check_finite, check_shapes

_BLOCK_ELEMENTS = 2**18  # pairs (i, j) held at once by `aggregate_posterior`: 2 MB, stays in the cache

_SAME_IMAGES = "Take them from the same images."
_ONE_ROW = "Reshape it, for one row with `[None, :]`."


# --- Reconstruction and units ---------------------------------------------------------------------------
def bits_per_dim(nats: ArrayLike, n_dims: int) -> float | np.ndarray:
    """Convert nats per image to bits per dimension: nats / (n_dims ln 2).

    Args:
        nats: Negative log-likelihood per image of a *discrete* likelihood, any shape.
        n_dims: Values in one image, height x width x channels.

    Returns:
        Bits per dimension, in the shape of `nats`. Lower is better.

    Raises:
        ValueError: If `n_dims` is not positive.
    """
    if n_dims < 1:
        raise ValueError(f"`n_dims` must be at least 1; received {n_dims}. Pass height * width * channels.")
    (nats,) = check_finite(nats=np.asarray(nats, dtype=np.float64))
    return nats[()] / (n_dims * np.log(2.0))


# --- Rate -----------------------------------------------------------------------------------------------
def gaussian_kl(z_mean: ArrayLike, z_log_var: ArrayLike) -> np.ndarray:
    """KL(N(z_mean, exp(z_log_var)) || N(0, 1)) of every image and latent.

    Args:
        z_mean: Posterior means, shape (n, latent_dim).
        z_log_var: Posterior log-variances, same shape.

    Returns:
        Nats per latent, shape (n, latent_dim), never negative.
    Source: Kingma & Welling 2014, arXiv:1312.6114, appendix B.
    """
    axes = "n latent_dim"
    z_mean, z_log_var = check_shapes(_SAME_IMAGES, float, z_mean=(z_mean, axes), z_log_var=(z_log_var, axes))
    return 0.5 * (z_mean**2 + np.expm1(z_log_var) - z_log_var)


def rate_per_dim(z_mean: ArrayLike, z_log_var: ArrayLike) -> np.ndarray:
    """Rate of each latent in nats, the mean of `gaussian_kl` over images: shape (latent_dim,)."""
    return gaussian_kl(z_mean, z_log_var).mean(axis=0)


def active_units(z_mean: ArrayLike, threshold: float = 1e-2) -> int:
    """Count the latents whose posterior mean varies over the data.

    Args:
        z_mean: Posterior means, shape (n, latent_dim).
        threshold: A latent is active if its variance over the data is above this.

    Returns:
        Number of active latents, 0 to latent_dim.
    Source: Burda et al. 2016, arXiv:1509.00519, section 5.
    """
    (z_mean,) = check_shapes(_ONE_ROW, float, z_mean=(z_mean, "n latent_dim"))
    return int(np.sum(z_mean.var(axis=0) > threshold))


# --- Likelihood -----------------------------------------------------------------------------------------
def _normal_log_density(z: np.ndarray, mean: np.ndarray, log_var: np.ndarray) -> np.ndarray:
    """Log-density of a univariate normal, elementwise, in nats."""
    return -0.5 * ((z - mean) ** 2 * np.exp(-log_var) + log_var + np.log(2.0 * np.pi))


def gaussian_log_prob(z: ArrayLike, mean: ArrayLike, log_var: ArrayLike) -> np.ndarray:
    """Log-density of a diagonal Gaussian, summed over the last axis.

    The arguments broadcast: z of shape (n, K, latent_dim) goes with means of shape (n, 1, latent_dim), and
    `gaussian_log_prob(z, 0.0, 0.0)` is the prior N(0, I).

    Args:
        z: Points, shape (..., latent_dim).
        mean: Means, broadcastable to `z`.
        log_var: Log-variances, broadcastable to `z`.

    Returns:
        Nats, the broadcast shape without its last axis.

    Raises:
        ValueError: If the shapes do not broadcast to one with a latent axis.
    """
    z, mean, log_var = (np.asarray(a, dtype=np.float64) for a in (z, mean, log_var))
    try:
        ndim = len(np.broadcast_shapes(z.shape, mean.shape, log_var.shape))
    except ValueError:
        ndim = 0
    if ndim == 0:
        raise ValueError(
            f"`z`, `mean`, `log_var` must broadcast to (..., latent_dim); received {z.shape}, {mean.shape}, "
            f"{log_var.shape}. Insert the sample axis into the parameters with `[:, None, :]`."
        )
    return _normal_log_density(*check_finite(z=z, mean=mean, log_var=log_var)).sum(axis=-1)


def log_mean_exp(log_weights: ArrayLike, axis: int = -1) -> np.ndarray:
    """Log of the mean of exp(log_weights) along `axis`, without overflow."""
    (log_weights,) = check_finite(log_weights=np.asarray(log_weights, dtype=np.float64))
    return special.logsumexp(log_weights, axis=axis) - np.log(log_weights.shape[axis])


def iwae(log_weights: ArrayLike) -> np.ndarray:
    """Importance-weighted lower bound on log p(x) of each image.

    Rises with K in expectation and is the one-sample ELBO at K = 1: name K beside every value.

    Args:
        log_weights: Log-weights in nats, shape (n, K).

    Returns:
        Nats per image, shape (n,). Higher is better.
    Source: Burda et al. 2016, arXiv:1509.00519, section 3.
    """
    (log_weights,) = check_shapes(_ONE_ROW, float, log_weights=(log_weights, "n K"))
    return log_mean_exp(log_weights)


# --- Aggregate posterior --------------------------------------------------------------------------------
def aggregate_posterior(z: ArrayLike, z_mean: ArrayLike, z_log_var: ArrayLike) -> dict[str, float]:
    """Split the rate into the information of z about x and the distance of q(z) from the prior N(0, I).

    rate = mutual_information + marginal_kl, marginal_kl = total_correlation + dimension_wise_kl: the second
    holds exactly, the first up to the Monte-Carlo error of z, because `rate` is the closed form.

    Estimator: one z_i from each q(z|x_i), and q(z) = (1/N) sum_j q(z|x_j) over the whole table, j = i left
    in; the same for each latent alone. Bias: the own term keeps log q(z_i) above log q(z_i|x_i) - log N, so
    mutual_information is too low and never above log N (returned as `mutual_information_cap`), while
    marginal_kl and total_correlation are too high by about as much. Trust these three only where the
    information is below half the cap: at a rate of 20 nats it reads log N whatever the model. Only
    dimension_wise_kl, made of single latents, stays sound there. Compare at equal N. Time grows as
    N^2 x latent_dim, memory as N.

    Args:
        z: One posterior sample for each image, shape (n, latent_dim).
        z_mean: Posterior means, same shape.
        z_log_var: Posterior log-variances, same shape.

    Returns:
        Nats, under the keys named above.
    Source: Hoffman & Johnson 2016, "ELBO surgery"; Chen et al. 2018, arXiv:1802.04942, section 3. The cap:
        McAllester & Stratos 2020, arXiv:1811.04251.
    """
    axes = "n latent_dim"
    z, z_mean, z_log_var = check_shapes(
        _SAME_IMAGES, float, z=(z, axes), z_mean=(z_mean, axes), z_log_var=(z_log_var, axes)
    )
    log_q_z, log_q_dims = _log_aggregate(z, z_mean, z_log_var)
    log_q_z_given_x = gaussian_log_prob(z, z_mean, z_log_var)
    log_prior = gaussian_log_prob(z, 0.0, 0.0)
    return {
        "rate": float(gaussian_kl(z_mean, z_log_var).sum(axis=1).mean()),
        "mutual_information": float(np.mean(log_q_z_given_x - log_q_z)),
        "mutual_information_cap": float(np.log(len(z))),
        "marginal_kl": float(np.mean(log_q_z - log_prior)),
        "total_correlation": float(np.mean(log_q_z - log_q_dims)),
        "dimension_wise_kl": float(np.mean(log_q_dims - log_prior)),
    }


def _log_aggregate(z: np.ndarray, z_mean: np.ndarray, z_log_var: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log q(z_i) and sum_d log q(z_i,d) under the whole table, each of shape (n,)."""
    n, latent_dim = z.shape
    log_q_z, log_q_dims = np.empty(n), np.zeros(n)
    n_rows = max(1, _BLOCK_ELEMENTS // n)
    for start in range(0, n, n_rows):
        rows = slice(start, start + n_rows)
        joint = np.zeros((len(z[rows]), n))
        for d in range(latent_dim):
            pairs = _normal_log_density(z[rows, d, None], z_mean[:, d], z_log_var[:, d])  # (rows, n)
            log_q_dims[rows] += log_mean_exp(pairs, axis=1)
            joint += pairs
        log_q_z[rows] = log_mean_exp(joint, axis=1)
    return log_q_z, log_q_dims
