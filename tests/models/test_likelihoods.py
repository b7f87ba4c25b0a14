import numpy as np
import pytest
import tensorflow as tf

from vae_lib.models.likelihoods import Bernoulli, DiscretizedLogistic, get_likelihood
from vae_lib.utils.errors import InputError

VALUES = np.arange(256, dtype="float32").reshape(256, 1, 1, 1) / 255.0


def params_of(location, raw_scale, n=256):
    return np.tile(np.array([location - 0.5, raw_scale], dtype="float32"), (n, 1, 1, 1)).reshape(n, 1, 1, 2)


@pytest.mark.parametrize("location", [-3.0, 0.0, 0.3, 0.5019608, 1.0, 4.0])
@pytest.mark.parametrize("raw_scale", [-30.0, -6.0, 0.0, 5.0, 12.0])
def test_discretized_logistic_sums_to_one_over_256_values(location, raw_scale):
    log_prob = DiscretizedLogistic().log_prob(VALUES, params_of(location, raw_scale))
    assert np.exp(np.asarray(log_prob, dtype="float64")).sum() == pytest.approx(1.0, abs=1e-5)


def test_discretized_logistic_equals_the_difference_of_cdfs():
    likelihood = DiscretizedLogistic()
    location = 0.4
    log_prob = np.asarray(likelihood.log_prob(VALUES, params_of(location, 0.0)), dtype="float64")
    scale = np.exp(likelihood.initial_log_scale)  # within what the soft bounds bend, under 1 %
    edges = (np.arange(257) - 0.5) / 255.0
    cdf = 1 / (1 + np.exp(-(edges - location) / scale))
    cdf[0], cdf[-1] = 0.0, 1.0
    np.testing.assert_allclose(log_prob, np.log(np.diff(cdf)), rtol=5e-3)


@pytest.mark.parametrize("kind", [Bernoulli, DiscretizedLogistic])
@pytest.mark.parametrize("image", ["black", "white", "noise"])
@pytest.mark.parametrize("params_scale", [0.0, 1.0, 30.0])
def test_loss_and_gradients_are_finite(kind, image, params_scale, rng):
    x = {"black": np.zeros, "white": np.ones, "noise": rng.random}[image]((4, 6, 5, 3)).astype("float32")
    x = np.round(x * 255) / 255
    shape = (4, 6, 5, kind().n_params(3))
    params = tf.Variable(params_scale * rng.standard_normal(shape).astype("float32"))
    with tf.GradientTape() as tape:
        log_prob = kind().log_prob(x, params)
    assert np.isfinite(log_prob).all() and log_prob.shape == (4,)
    assert np.isfinite(tape.gradient(log_prob, params)).all()


def test_best_constant_model_of_uniform_noise_needs_about_8_bits(rng):
    x = rng.integers(0, 256, (8, 16, 16, 1)).astype("float32") / 255
    params = [
        np.stack([np.zeros_like(x[..., 0]), np.full_like(x[..., 0], raw)], -1)
        for raw in np.arange(-2, 4, 0.25)
    ]
    nats = min(-float(np.mean(DiscretizedLogistic().log_prob(x, p))) for p in params)
    bits = DiscretizedLogistic().bits_per_dim(nats, (16, 16, 1))
    assert 8.0 <= bits < 8.26  # no model gets below 8; the best single logistic needs 8.25


def test_bernoulli_equals_binary_cross_entropy_summed_over_all_channels(rng):
    x = rng.random((3, 4, 4, 3)).astype("float32")
    logits = rng.standard_normal((3, 4, 4, 3)).astype("float32")
    p = 1 / (1 + np.exp(-logits))
    expected = (x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(Bernoulli().log_prob(x, logits), expected, rtol=1e-5)


@pytest.mark.parametrize("location", [-0.2, 0.0, 0.25, 0.9, 1.1])
@pytest.mark.parametrize("raw_scale", [-6.0, 0.0, 3.0])
def test_mean_is_that_of_the_256_probabilities_and_of_the_draws(location, raw_scale):
    likelihood = DiscretizedLogistic()
    params = params_of(location, raw_scale, 1)
    prob = np.exp(likelihood.log_prob(VALUES, np.tile(params, (256, 1, 1, 1))))
    exact = float((prob * VALUES.ravel()).sum())
    assert float(likelihood.mean(params)[0, 0, 0, 0]) == pytest.approx(exact, abs=0.5 / 255)
    many = np.tile(params, (20_000, 1, 1, 1))
    draws = np.asarray(likelihood.draw(many, seed=3))
    spread = float(np.sqrt((prob * (VALUES.ravel() - exact) ** 2).sum()))
    assert draws.mean() == pytest.approx(exact, abs=5 * spread / np.sqrt(20_000) + 1e-4)
    np.testing.assert_allclose(draws * 255, np.round(draws * 255), atol=1e-4)


def test_bernoulli_draws_have_the_mean():
    params = np.full((20_000, 1, 1, 1), 0.7, dtype="float32")
    draws = np.asarray(Bernoulli().draw(params, seed=1))
    assert set(np.unique(draws)) == {0.0, 1.0}
    assert draws.mean() == pytest.approx(1 / (1 + np.exp(-0.7)), abs=0.02)


def test_bits_per_dim_of_one_bit_per_pixel():
    assert DiscretizedLogistic().bits_per_dim(12 * np.log(2), (2, 2, 3)) == pytest.approx(1.0)


def test_bernoulli_has_no_bits_per_dim():
    with pytest.raises(InputError, match=r"bernoulli.*discretized_logistic"):
        Bernoulli().bits_per_dim(100.0, (28, 28, 1))


def test_unknown_likelihood_is_refused_by_name():
    with pytest.raises(InputError, match="received 'gauss'"):
        get_likelihood("gauss")
