import numpy as np
import pytest
import tensorflow as tf

from vae_lib.metrics.elbo import aggregate_posterior
from vae_lib.models.total_correlation import total_correlation
from vae_lib.models.vae import VAE


def test_on_a_whole_table_it_is_the_metric_of_that_name(rng):
    z_mean, z_log_var = rng.standard_normal((2, 40, 3)).astype("float32")
    z = z_mean + np.exp(z_log_var / 2) * rng.standard_normal((40, 3)).astype("float32")
    estimate = np.asarray(total_correlation(z, z_mean, z_log_var))
    assert estimate.shape == (40,)
    expected = aggregate_posterior(z, z_mean, z_log_var)["total_correlation"]
    assert estimate.mean() == pytest.approx(expected, rel=1e-4)


def test_it_is_zero_for_one_latent_and_grows_with_dependence(rng):
    z = rng.standard_normal((200, 1)).astype("float32")
    log_var = np.full((200, 1), -2.0, "float32")
    np.testing.assert_allclose(total_correlation(z, z, log_var), np.zeros(200), atol=1e-4)
    other = rng.standard_normal((200, 1)).astype("float32")
    apart = np.concatenate([z, other], axis=1)
    same = np.concatenate([z, z], axis=1)
    both = np.repeat(log_var, 2, axis=1)
    assert np.mean(total_correlation(same, same, both)) > 3 * np.mean(total_correlation(apart, apart, both))


def test_its_weight_adds_it_to_the_loss_and_reports_it(rng):
    x = rng.integers(0, 256, (12, 8, 8, 1), dtype="uint8")
    options = {"latent_dim": 3, "width": 4, "dense_units": 16}
    vae = VAE((8, 8, 1), tc_weight=5.0, **options)
    vae.compile(optimizer="adam")
    logs = vae.evaluate(x, verbose=0, return_dict=True, batch_size=12)
    assert logs["loss"] == pytest.approx(
        logs["distortion"] + logs["rate"] + 5.0 * logs["total_correlation"], rel=1e-5
    )
    plain = VAE((8, 8, 1), **options)
    plain.compile(optimizer="adam")
    assert plain.evaluate(x, verbose=0, return_dict=True).keys() == {"loss", "distortion", "rate"}


def test_its_gradient_makes_dependent_latents_independent(rng):
    source = rng.standard_normal((256, 1)).astype("float32")
    means = tf.constant(np.concatenate([source, 0.9 * source + 0.1 * rng.standard_normal((256, 1))], axis=1))
    means, log_var = tf.cast(means, "float32"), tf.fill((256, 2), -2.0)
    turn = tf.Variable([[1.0, 0.0], [0.0, 1.0]])
    noise = tf.constant(rng.standard_normal((256, 2)), "float32") * tf.exp(0.5 * log_var)
    for _ in range(150):
        with tf.GradientTape() as tape:
            moved = means @ turn
            loss = tf.reduce_mean(total_correlation(moved + noise, moved, log_var))
        turn.assign_sub(0.1 * tape.gradient(loss, turn))
    correlation = np.corrcoef(np.asarray(means @ turn).T)[0, 1]
    assert abs(correlation) < 0.3 < np.corrcoef(np.asarray(means).T)[0, 1]
