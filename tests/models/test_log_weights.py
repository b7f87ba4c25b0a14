"""The ELBO and the importance-weighted bound against the exact log p(x) of a linear Gaussian model."""

import numpy as np
import tensorflow as tf
from scipy.stats import multivariate_normal

from vae_lib.metrics.elbo import iwae
from vae_lib.models.vae import VAE, as_unit_floats


class LinearGaussian:
    """p(x|z) = N(Wz + b, s^2 I) in place of a likelihood of pixels: its log p(x) is exact."""

    name, params_per_channel, has_bits_per_dim, scale = "linear", 1, False, 0.3

    def log_prob(self, x, params):
        error = tf.reshape(x - params, (-1, 64)) / self.scale
        return -0.5 * tf.reduce_sum(error**2 + np.log(2 * np.pi * self.scale**2), axis=1)

    def mean(self, params):
        return params


def linear_vae(widen=1.0, shift=0.0):
    """A VAE with a linear decoder, whose encoder gives the exact posterior, or one made worse on purpose."""
    vae = VAE((8, 8, 1), latent_dim=2, width=4, dense_units=16)
    vae.likelihood = LinearGaussian()
    rng = np.random.default_rng(1)
    w, b = 0.2 * rng.standard_normal((64, 2)), rng.random(64)
    precision = np.eye(2) + w.T @ w / vae.likelihood.scale**2
    covariance = np.linalg.inv(precision)
    axes = np.linalg.eigh(covariance)[1]  # in these axes the posterior is diagonal, as q(z|x) must be
    w = w @ axes
    variance = np.diag(np.linalg.inv(np.eye(2) + w.T @ w / vae.likelihood.scale**2))
    gain = (variance[:, None] * w.T / vae.likelihood.scale**2).astype("float32")

    def encode(x, y=None, training=False):
        flat = tf.reshape(as_unit_floats(x), (-1, 64)) - b.astype("float32")
        z_mean = flat @ gain.T + shift
        return z_mean, tf.zeros_like(z_mean) + np.log(widen * variance).astype("float32")

    vae._encode = encode
    vae._decode = lambda z, y=None, training=False: tf.reshape(
        z @ w.T.astype("float32") + b.astype("float32"), (-1, 8, 8, 1)
    )
    vae._compile_batch_functions()
    exact = multivariate_normal(b, w @ w.T + vae.likelihood.scale**2 * np.eye(64))
    x = np.random.default_rng(2).integers(0, 256, (4, 8, 8, 1), dtype="uint8")
    return vae, x, exact.logpdf(x.reshape(4, 64) / 255.0)


def mean_elbo(vae, x, n_samples):
    """Return the ELBO of each image, averaged over draws of z."""
    return vae.elbo_terms(np.repeat(x, n_samples, axis=0))["elbo"].reshape(len(x), -1).mean(axis=1)


def test_with_the_exact_posterior_every_weight_is_log_p():
    vae, x, log_p = linear_vae()
    np.testing.assert_allclose(vae.log_weights(x, n_samples=5), np.tile(log_p[:, None], 5), atol=0.01)
    # The ELBO takes the rate in closed form, so it meets log p in the mean over draws, not draw by draw.
    np.testing.assert_allclose(mean_elbo(vae, x, 3000), log_p, atol=0.1)


def test_iwae_5000_meets_log_p_within_0_05_nats_and_the_elbo_lies_below():
    vae, x, log_p = linear_vae(widen=1.7, shift=0.05)
    weights = vae.log_weights(x, n_samples=5000)
    np.testing.assert_allclose(iwae(weights), log_p, atol=0.05)
    assert (mean_elbo(vae, x, 2000) < log_p - 0.05).all()
    # K = 1 and K = 50, as means over all weights in groups of K
    one, fifty = (iwae(weights.reshape(-1, k)).mean() for k in (1, 50))
    assert one < fifty < iwae(weights).mean() + 0.05


def test_weights_drawn_in_blocks_of_several_seeds_give_the_same_bound():
    vae, x, log_p = linear_vae(widen=1.2)
    one = iwae(vae.log_weights(x, n_samples=600))
    many = iwae(np.hstack([vae.log_weights(x, n_samples=100, seed=seed) for seed in range(6)]))
    np.testing.assert_allclose(one, many, atol=0.05)
    np.testing.assert_allclose(one, log_p, atol=0.05)
