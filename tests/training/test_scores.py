import keras
import numpy as np
import pytest

from vae_lib.models.vae import NOISE_SEED, VAE
from vae_lib.training.scores import evaluate


def small_vae(**options):
    keras.utils.set_random_seed(0)
    return VAE((8, 8, 1), **{"latent_dim": 2, "width": 4, "dense_units": 16, **options})


def images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 1), dtype="uint8")


def test_scores_take_every_image_and_the_same_noise_each_time():
    vae, x = small_vae(), images(700)
    scores = evaluate(vae, x)
    assert scores == evaluate(vae, x) and scores["n"] == 700
    terms = vae.elbo_terms(x, seed=NOISE_SEED)
    assert scores["elbo"] == pytest.approx(terms["elbo"].mean())
    assert scores["elbo_standard_error"] == pytest.approx(terms["elbo"].std(ddof=1) / np.sqrt(700))
    assert scores["bits_per_dim"] == pytest.approx(-scores["elbo"] / (64 * np.log(2)))


def test_the_score_is_the_beta_1_elbo_whatever_beta_the_model_was_trained_with():
    x = images(20)
    assert evaluate(small_vae(beta=8.0), x) == evaluate(small_vae(beta=1.0), x)


def test_a_likelihood_without_bits_per_dim_reports_none():
    assert "bits_per_dim" not in evaluate(small_vae(likelihood="bernoulli"), images(5))


def test_one_image_has_no_standard_error_and_a_perfect_reconstruction_no_psnr():
    vae = small_vae()
    vae.reconstruct = lambda x, y=None: x
    scores = evaluate(vae, images(1))
    assert "elbo_standard_error" not in scores and "psnr" not in scores and scores["mse"] == 0.0
