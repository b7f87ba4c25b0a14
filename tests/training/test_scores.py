import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import multivariate_normal

from vae_lib.models.vae import VAE, as_unit_floats
from vae_lib.training.scores import binarize_images, evaluate, importance_bounds, mean_elbo_terms


def small_vae(**options):
    keras.utils.set_random_seed(0)
    return VAE((8, 8, 1), **{"latent_dim": 2, "width": 4, "dense_units": 16, **options})


def images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 1), dtype="uint8")


class LinearGaussian:
    """p(x|z) = N(Wz + b, s^2 I) in place of a likelihood of pixels: its log p(x) is exact."""

    name, params_per_channel, has_bits_per_dim, scale = "linear", 1, False, 0.3

    def log_prob(self, x, params):
        error = tf.reshape(x - params, (-1, 64)) / self.scale
        return -0.5 * tf.reduce_sum(error**2 + np.log(2 * np.pi * self.scale**2), axis=1)

    def mean(self, params):
        return params


def linear_vae(widen=1.0, shift=0.0):
    """A VAE whose decoder is linear and whose encoder is the exact posterior, or one spoilt on purpose."""
    vae = small_vae()
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
    x = images(4, seed=2)
    return vae, x, exact.logpdf(x.reshape(4, 64) / 255.0)


def test_with_the_exact_posterior_every_weight_is_log_p():
    vae, x, log_p = linear_vae()
    # The ELBO takes the rate in closed form, so it meets log p in the mean over draws, not draw by draw.
    np.testing.assert_allclose(mean_elbo_terms(vae, x, n_samples=3000)["elbo"], log_p, atol=0.1)
    np.testing.assert_allclose(importance_bounds(vae, x, n_samples=(5,))[5], log_p, atol=0.01)


def test_iwae_5000_meets_log_p_within_0_05_nats_and_the_elbo_lies_below():
    vae, x, log_p = linear_vae(widen=1.7, shift=0.05)
    bounds = importance_bounds(vae, x, n_samples=(1, 50, 5000), block=500)
    np.testing.assert_allclose(bounds[5000], log_p, atol=0.05)
    elbo = mean_elbo_terms(vae, x, n_samples=2000)["elbo"]
    assert (elbo < log_p - 0.05).all()
    assert bounds[1].mean() < bounds[50].mean() < bounds[5000].mean() + 0.05


def test_blocks_do_not_change_what_a_bound_is(monkeypatch):
    vae, x, log_p = linear_vae(widen=1.2)
    one, many = (importance_bounds(vae, x, n_samples=(600,), block=block)[600] for block in (600, 70))
    np.testing.assert_allclose(one, many, atol=0.05)
    np.testing.assert_allclose(one, log_p, atol=0.05)


def test_scores_take_every_image_and_the_same_noise_each_time():
    vae, x = small_vae(), images(700)
    scores = evaluate(vae, x)
    assert scores == evaluate(vae, x) and scores["n"] == 700
    terms = mean_elbo_terms(vae, x)
    assert scores["elbo"] == pytest.approx(terms["elbo"].mean())
    assert scores["elbo_standard_error"] == pytest.approx(terms["elbo"].std(ddof=1) / np.sqrt(700))
    assert scores["bits_per_dim"] == pytest.approx(-scores["elbo"] / (64 * np.log(2)))


def test_the_score_is_the_beta_1_elbo_whatever_beta_the_model_was_trained_with():
    x = images(20)
    assert evaluate(small_vae(beta=8.0), x) == evaluate(small_vae(beta=1.0), x)


def test_a_likelihood_without_bits_per_dim_reports_none():
    assert "bits_per_dim" not in evaluate(small_vae(likelihood="bernoulli"), images(5))


def test_binarised_images_have_the_grey_levels_as_probabilities_and_are_drawn_once():
    x = np.full((500, 8, 8, 1), 51, dtype="uint8")
    drawn = binarize_images(x)
    assert set(np.unique(drawn)) == {0, 255}
    assert (drawn == 255).mean() == pytest.approx(0.2, abs=0.01)
    np.testing.assert_array_equal(drawn, binarize_images(x))
    np.testing.assert_array_equal(binarize_images(drawn), drawn)


def test_one_image_has_no_standard_error_and_a_perfect_reconstruction_no_psnr():
    vae = small_vae()
    vae.reconstruct = lambda x, y=None: x
    scores = evaluate(vae, images(1))
    assert "elbo_standard_error" not in scores and "psnr" not in scores and scores["mse"] == 0.0
