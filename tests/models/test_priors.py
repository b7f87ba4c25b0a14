import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from vae_lib.models.priors import FlowPrior, NormalPrior, make_prior, normal_log_prob
from vae_lib.utils.errors import InputError


def trained_looking_flow(latent_dim, seed=0, scale=0.5):
    """A flow with weights far from the identity it starts as."""
    keras.utils.set_random_seed(seed)
    flow = FlowPrior(latent_dim, n_couplings=4, units=8)
    for i, variable in enumerate(flow.trainable_variables):
        variable.assign(scale * tf.random.stateless_normal(variable.shape, seed=[seed, i]))
    return flow


def test_normal_log_prob_is_scipys(rng):
    z, mean, log_var = rng.standard_normal((3, 5, 4)).astype("float32")
    expected = norm(mean, np.exp(log_var / 2)).logpdf(z).sum(axis=1)
    np.testing.assert_allclose(normal_log_prob(z, mean, log_var), expected, rtol=1e-4)


def floats(low, high):
    return arrays("float32", (3, 4), elements=st.floats(low, high, width=32))


@given(floats(-5, 5), floats(-8, 4))
def test_the_rate_is_never_negative_and_zero_where_q_is_the_prior(z_mean, z_log_var):
    rate = np.asarray(NormalPrior().rate(None, z_mean, z_log_var))
    assert rate.shape == (3,) and (rate > -1e-6).all()  # float32 rounds
    apart = (np.abs(z_mean) > 0.01).any(axis=1) | (np.abs(z_log_var) > 0.01).any(axis=1)
    assert (rate[apart] > 0).all()
    zeros = np.zeros_like(z_mean)
    assert not np.asarray(NormalPrior().rate(None, zeros, zeros)).any()


def test_normal_prior_rate_is_the_closed_form_and_agrees_with_monte_carlo(rng):
    z_mean, z_log_var = rng.standard_normal((2, 3, 4)).astype("float32")
    rate = np.asarray(NormalPrior().rate(None, z_mean, z_log_var))
    z = z_mean + np.exp(z_log_var / 2) * rng.standard_normal((100_000, 3, 4)).astype("float32")
    estimate = np.asarray(normal_log_prob(z, z_mean, z_log_var) - NormalPrior().log_prob(z)).mean(axis=0)
    np.testing.assert_allclose(rate, estimate, atol=0.05)


@pytest.mark.parametrize("latent_dim", [2, 5])
def test_a_new_flow_is_the_normal_prior(latent_dim, rng):
    z = rng.standard_normal((7, latent_dim)).astype("float32")
    flow = FlowPrior(latent_dim)
    np.testing.assert_allclose(flow.log_prob(z), NormalPrior().log_prob(z), rtol=1e-5)
    np.testing.assert_allclose(flow.from_normal(z), z, rtol=1e-6)


@pytest.mark.parametrize("latent_dim", [2, 3, 6])
def test_log_prob_is_the_change_of_variables_of_from_normal(latent_dim, rng):
    flow = trained_looking_flow(latent_dim)
    u = tf.constant(rng.standard_normal((4, latent_dim)).astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(u)
        z = flow.from_normal(u)
    assert np.abs(z - u).max() > 0.1
    _, log_det = np.linalg.slogdet(tape.batch_jacobian(z, u))
    np.testing.assert_allclose(flow.log_prob(z), NormalPrior().log_prob(u) - log_det, rtol=1e-3, atol=1e-3)


def test_the_flow_s_density_sums_to_one():
    axis = np.linspace(-12, 12, 481)
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype("float32")
    density = np.exp(np.asarray(trained_looking_flow(2, scale=0.25).log_prob(z), dtype="float64"))
    assert density.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=0.01)


def test_every_variable_of_the_flow_gets_a_gradient(rng):
    flow = trained_looking_flow(5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(flow.log_prob(rng.standard_normal((6, 5)).astype("float32")))
    assert all(np.abs(g).max() > 0 for g in tape.gradient(loss, flow.trainable_variables))


def test_bad_priors_are_refused():
    with pytest.raises(InputError, match="received 'gauss'"):
        make_prior("gauss", 4)
    with pytest.raises(InputError, match="received 1"):
        make_prior("flow", 1)


@pytest.mark.parametrize("kind", ["gaussian", "flow"])
def test_a_prior_given_the_label_is_a_density_of_its_own_for_each_class(kind, rng):
    prior = make_prior(kind, 2, num_classes=3)
    for i, variable in enumerate(prior.trainable_variables):
        variable.assign(variable + 0.15 * tf.random.stateless_normal(variable.shape, seed=[1, i]))
    side = np.linspace(-9, 9, 181)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2).astype("float32")
    densities = [np.exp(prior.log_prob(grid, np.full(len(grid), label))) for label in range(3)]
    for density in densities:
        assert density.sum() * 0.1**2 == pytest.approx(1.0, abs=0.02)
    assert np.abs(densities[0] - densities[1]).sum() * 0.1**2 > 0.05
    u, y = rng.standard_normal((60_000, 2)).astype("float32"), np.repeat([0, 1, 2], 20_000)
    z = np.asarray(prior.from_normal(u, y))
    for label in range(3):  # draws have the density's mean
        mean = (densities[label][:, None] * grid).sum(axis=0) * 0.1**2
        np.testing.assert_allclose(z[y == label].mean(axis=0), mean, atol=0.06)


def test_the_rate_from_a_gaussian_of_the_class_is_the_closed_form_and_agrees_with_draws(rng):
    prior = make_prior("gaussian", 3, num_classes=2)
    prior.log_vars.assign(rng.standard_normal((2, 3)))
    z_mean, z_log_var = rng.standard_normal((2, 4, 3)).astype("float32")
    y = np.array([0, 1, 1, 0])
    rate = np.asarray(prior.rate(None, z_mean, z_log_var, y))
    z = z_mean + np.exp(z_log_var / 2) * rng.standard_normal((50_000, 4, 3)).astype("float32")
    log_p = np.stack([prior.log_prob(z[:, i], np.full(50_000, y[i])) for i in range(4)], axis=1)
    estimate = (np.asarray(normal_log_prob(z, z_mean, z_log_var)) - log_p).mean(axis=0)
    np.testing.assert_allclose(rate, estimate, rtol=0.02, atol=0.05)
