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


@pytest.mark.slow
def test_the_probabilities_of_a_colour_pixel_sum_to_one_over_all_its_values(rng):
    likelihood, grid = DiscretizedLogistic(), np.arange(256, dtype="float32") / 255
    for scale in (0.3, 3.0):
        params = np.tile((scale * rng.standard_normal((1, 1, 1, 9))).astype("float32"), (65536 * 8, 1, 1, 1))
        total = 0.0
        red_and_green = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
        for blue in np.split(grid, 32):  # 256^3 values, in parts
            x = np.concatenate([np.repeat(red_and_green, 8, axis=0), np.tile(blue, 65536)[:, None]], axis=1)
            log_prob = likelihood.log_prob(tf.constant(x[:, None, None]), tf.constant(params))
            total += np.exp(np.asarray(log_prob, dtype="float64")).sum()
        assert total == pytest.approx(1.0, abs=2e-4)


def test_without_coefficients_channels_in_turn_are_independent_channels(rng):
    x = rng.integers(0, 256, (5, 4, 4, 3)).astype("float32") / 255
    params = rng.standard_normal((5, 4, 4, 9)).astype("float32")
    params[..., 6:] = 0
    in_turn, independent = DiscretizedLogistic(), DiscretizedLogistic(in_turn=False)
    assert in_turn.n_params(3) == 9 and independent.n_params(3) == 6 and in_turn.n_params(1) == 2
    np.testing.assert_array_equal(in_turn.log_prob(x, params), independent.log_prob(x, params[..., :6]))
    np.testing.assert_array_equal(in_turn.mean(params), independent.mean(params[..., :6]))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_mean_and_draw_follow_the_order_of_the_channels(channels, rng):
    likelihood = DiscretizedLogistic()
    n_pairs = channels * (channels - 1) // 2
    params = np.concatenate(
        [np.full(channels, -0.1), np.full(channels, -1.5), np.full(n_pairs, 0.6)], dtype="float32"
    )
    params = np.tile(params, (40_000, 1, 1, 1)).reshape(40_000, 1, 1, -1)
    drawn = np.asarray(likelihood.draw(params, seed=1))[:, 0, 0]
    mean = np.asarray(likelihood.mean(params[:1]))[0, 0, 0]
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.003)
    correlation = np.corrcoef(drawn.T)
    assert (correlation[np.triu_indices(channels, 1)] > 0.4).all()  # brighter red, brighter green
    # a draw has the probability that log_prob says: its mean log-probability is minus the entropy
    log_prob = np.asarray(likelihood.log_prob(drawn[:, None, None], params))
    reversed_order = np.asarray(likelihood.log_prob(drawn[:, None, None, ::-1].copy(), params))
    assert log_prob.mean() >= reversed_order.mean() - 0.01


def test_channels_in_turn_need_fewer_bits_where_channels_agree(rng):
    grey = rng.integers(20, 230, (64, 8, 8, 1))
    x = np.clip(grey + rng.integers(-2, 3, (64, 8, 8, 3)), 0, 255).astype("float32") / 255
    params = np.zeros((64, 8, 8, 9), "float32")
    params[..., 3:6] = [0.0, -2.5, -2.5]  # log-scales above -2
    apart = -np.asarray(DiscretizedLogistic().log_prob(x, params)).mean()
    params[..., 6:] = [1.0, 0.0, 1.0]
    assert -np.asarray(DiscretizedLogistic().log_prob(x, params)).mean() < 0.7 * apart
