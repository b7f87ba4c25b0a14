"""Oracles: closed forms, and a linear-Gaussian model whose log p(x) is exact."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy import special, stats

from vae_lib.metrics import elbo as elbo_module
from vae_lib.metrics.elbo import (
    active_units,
    aggregate_posterior,
    bits_per_dim,
    gaussian_kl,
    gaussian_log_prob,
    iwae,
    log_mean_exp,
    rate_per_dim,
)
from vae_lib.metrics.reconstruction import mse, psnr

# --- Reconstruction and units


def test_bits_per_dim_of_uniform_bytes_is_eight():
    assert bits_per_dim(784 * np.log(256.0), 784) == pytest.approx(8.0)
    np.testing.assert_allclose(bits_per_dim([0.0, np.log(2.0)], 1), [0.0, 1.0])


def test_mse_and_psnr_are_per_image_on_the_byte_scale():
    x = np.zeros((2, 4, 4, 1), dtype=np.uint8)
    reconstruction = np.stack([np.full((4, 4, 1), 255), np.full((4, 4, 1), 51)]).astype(np.uint8)
    assert mse(x, reconstruction) == pytest.approx((255**2 + 51**2) / 2)  # and no byte overflow
    assert psnr(x, reconstruction) == pytest.approx((0.0 + 20 * np.log10(5)) / 2)  # mean of decibels
    assert psnr(x, x) == np.inf


# --- Rate


def test_gaussian_kl_agrees_with_monte_carlo():
    rng = np.random.default_rng(0)
    z_mean, z_log_var = np.array([[0.0, 1.5, -0.5]]), np.array([[0.0, -2.0, 1.0]])
    z = z_mean + np.exp(z_log_var / 2) * rng.normal(size=(200_000, 3))
    log_ratio = stats.norm.logpdf(z, z_mean, np.exp(z_log_var / 2)) - stats.norm.logpdf(z)
    kl = gaussian_kl(z_mean, z_log_var)
    assert kl.shape == (1, 3)
    assert kl[0, 0] == 0.0
    np.testing.assert_allclose(kl[0], log_ratio.mean(axis=0), atol=4 * stats.sem(log_ratio, axis=0).max())


def test_rate_per_dim_is_the_mean_over_images_and_sums_to_the_rate():
    rng = np.random.default_rng(0)
    z_mean, z_log_var = rng.normal(size=(2, 50, 4))
    rate = rate_per_dim(z_mean, z_log_var)
    assert rate.shape == (4,)
    assert rate.sum() == pytest.approx(gaussian_kl(z_mean, z_log_var).sum(axis=1).mean())


def test_active_units_counts_variance_above_the_threshold():
    spread = np.array([[-1.0], [1.0]])  # variance 1
    z_mean = spread * np.sqrt([1.0, 0.011, 0.009, 0.0]) + 7.0
    assert active_units(z_mean) == 2
    assert active_units(z_mean, threshold=0.5) == 1


# --- Likelihood: x = W z + b + sigma eps


class LinearGaussian(NamedTuple):
    """Images with their exact log p(x) and exact posterior."""

    x: np.ndarray  # (n, n_dims)
    weights: np.ndarray  # (n_dims, latent_dim)
    bias: np.ndarray
    sigma: float
    log_px: np.ndarray  # (n,)
    mean: np.ndarray  # (n, latent_dim), of p(z|x)
    covariance: np.ndarray

    def log_joint(self, z: np.ndarray) -> np.ndarray:
        """Log p(x, z) for z of shape (n, K, latent_dim)."""
        log_px_given_z = stats.norm.logpdf(self.x[:, None], z @ self.weights.T + self.bias, self.sigma).sum(
            axis=-1
        )
        return log_px_given_z + gaussian_log_prob(z, 0.0, 0.0)

    def log_weights(self, k: int, shift: float, widen: float, seed: int = 0) -> np.ndarray:
        """Log-weights under a diagonal Gaussian, off the exact posterior by `shift`, wider by `widen`."""
        z_log_var = np.log(widen * np.diag(self.covariance))
        z_mean = self.mean + shift * np.sqrt(np.diag(self.covariance))
        noise = np.random.default_rng(seed).normal(size=(len(self.x), k, len(z_log_var)))
        z = z_mean[:, None] + np.exp(z_log_var / 2) * noise
        return self.log_joint(z) - gaussian_log_prob(z, z_mean[:, None], z_log_var)


@pytest.fixture(scope="module")
def model() -> LinearGaussian:
    rng = np.random.default_rng(1)
    n, n_dims, latent_dim, sigma = 20, 8, 3, 0.7
    weights, bias = rng.normal(size=(n_dims, latent_dim)), rng.normal(size=n_dims)
    z, noise = rng.normal(size=(n, latent_dim)), rng.normal(size=(n, n_dims))
    x = z @ weights.T + bias + sigma * noise
    covariance = np.linalg.inv(np.eye(latent_dim) + weights.T @ weights / sigma**2)
    return LinearGaussian(
        x=x,
        weights=weights,
        bias=bias,
        sigma=sigma,
        log_px=stats.multivariate_normal.logpdf(x, bias, weights @ weights.T + sigma**2 * np.eye(n_dims)),
        mean=(x - bias) @ weights @ covariance / sigma**2,
        covariance=covariance,
    )


def test_iwae_with_the_exact_posterior_is_exact_without_variance(model):
    rng = np.random.default_rng(0)
    z = np.stack([rng.multivariate_normal(mean, model.covariance, size=4) for mean in model.mean])
    log_q = np.stack(
        [stats.multivariate_normal.logpdf(z[i], m, model.covariance) for i, m in enumerate(model.mean)]
    )
    log_weights = model.log_joint(z) - log_q
    np.testing.assert_allclose(log_weights, np.repeat(model.log_px[:, None], 4, axis=1), atol=1e-9)
    np.testing.assert_allclose(iwae(log_weights), model.log_px, atol=1e-9)


@pytest.mark.parametrize(("shift", "widen"), [(0.0, 2.5), (0.7, 1.8)], ids=["wide", "shifted"])
def test_iwae_rises_with_k_to_the_exact_likelihood_and_the_elbo_lies_below(model, shift, widen):
    log_weights = model.log_weights(5000, shift, widen)
    elbo, exact = log_weights.mean(), model.log_px.mean()
    assert elbo < exact - 0.3
    # each bound from all of the 5,000 log-weights, in groups of K: by Jensen they rise for certain
    bounds = [iwae(log_weights.reshape(-1, k)).mean() for k in (1, 10, 100, 5000)]
    assert bounds == sorted(bounds)
    assert bounds[0] == pytest.approx(elbo)
    assert bounds[-1] == pytest.approx(exact, abs=0.05)


def test_iwae_of_one_sample_is_that_sample():
    np.testing.assert_array_equal(iwae([[-800.0], [-90.5]]), [-800.0, -90.5])


def test_log_mean_exp_is_the_log_of_the_mean_and_does_not_underflow():
    assert log_mean_exp(np.log([1.0, 3.0])) == pytest.approx(np.log(2.0))
    assert log_mean_exp([-2000.0, -2000.0]) == pytest.approx(-2000.0)
    assert log_mean_exp(np.zeros((2, 3)), axis=0).shape == (3,)


def test_gaussian_log_prob_sums_over_latents_and_broadcasts():
    rng = np.random.default_rng(0)
    z, mean, log_var = rng.normal(size=(5, 7, 3)), rng.normal(size=(5, 1, 3)), rng.normal(size=3)
    expected = stats.norm.logpdf(z, mean, np.exp(log_var / 2)).sum(axis=-1)
    np.testing.assert_allclose(gaussian_log_prob(z, mean, log_var), expected)
    with pytest.raises(ValueError, match=r"\(5, 7, 3\), \(5, 3\).*None"):
        gaussian_log_prob(z, mean[:, 0], log_var)


# --- Aggregate posterior


def gaussian_posteriors(n: int, covariance: np.ndarray, z_var: np.ndarray, seed: int = 0):
    """z, z_mean, z_log_var whose aggregate is N(0, covariance + diag(z_var))."""
    rng = np.random.default_rng(seed)
    z_mean = rng.multivariate_normal(np.zeros(len(z_var)), covariance, size=n)
    z_log_var = np.broadcast_to(np.log(z_var), z_mean.shape)
    return z_mean + np.sqrt(z_var) * rng.normal(size=z_mean.shape), z_mean, z_log_var


@pytest.fixture(scope="module")
def gaussian_terms() -> tuple[dict[str, float], dict[str, float]]:
    """Estimated and exact terms of a correlated Gaussian aggregate."""
    covariance, z_var = np.array([[0.8, 0.5], [0.5, 0.6]]), np.array([0.3, 0.5])
    total = covariance + np.diag(z_var)
    variances, log_det = np.diag(total), np.linalg.slogdet(total)[1]
    exact = {
        "mutual_information": 0.5 * (log_det - np.log(z_var).sum()),
        "marginal_kl": 0.5 * (np.trace(total) - 2 - log_det),
        "total_correlation": 0.5 * (np.log(variances).sum() - log_det),
        "dimension_wise_kl": 0.5 * np.sum(variances - 1 - np.log(variances)),
    }
    return aggregate_posterior(*gaussian_posteriors(3000, covariance, z_var)), exact


@pytest.mark.parametrize(
    "term", ["mutual_information", "marginal_kl", "total_correlation", "dimension_wise_kl"]
)
def test_aggregate_terms_meet_their_closed_forms(gaussian_terms, term):
    estimated, exact = gaussian_terms
    assert estimated[term] == pytest.approx(exact[term], abs=0.03)


def test_aggregate_terms_add_up(gaussian_terms):
    terms, _ = gaussian_terms
    assert terms["marginal_kl"] == pytest.approx(terms["total_correlation"] + terms["dimension_wise_kl"])
    assert terms["rate"] == pytest.approx(terms["mutual_information"] + terms["marginal_kl"], abs=0.03)


def test_mutual_information_is_capped_at_log_n():
    z, z_mean, z_log_var = gaussian_posteriors(200, np.eye(8), np.full(8, 1e-4))  # true value: 37 nats
    terms = aggregate_posterior(z, z_mean, z_log_var)
    assert terms["mutual_information_cap"] == pytest.approx(np.log(200))
    assert terms["mutual_information"] == pytest.approx(np.log(200), abs=1e-6)
    assert terms["mutual_information"] <= terms["mutual_information_cap"] + 1e-9


def test_beyond_the_cap_only_the_dimension_wise_kl_stays_sound():
    """q(z) = N(0, I) at a rate of 23 nats: both terms are 0, the estimator says otherwise of one."""
    z, z_mean, z_log_var = gaussian_posteriors(1000, 0.99 * np.eye(10), np.full(10, 0.01))
    terms = aggregate_posterior(z, z_mean, z_log_var)
    assert terms["dimension_wise_kl"] == pytest.approx(0.0, abs=0.2)
    assert terms["total_correlation"] == pytest.approx(23.0 - np.log(1000), abs=0.5)


def test_aggregate_terms_of_a_collapsed_posterior_are_zero():
    z = np.random.default_rng(0).normal(size=(300, 4))
    terms = aggregate_posterior(z, np.zeros_like(z), np.zeros_like(z))
    assert terms.pop("mutual_information_cap") > 0
    np.testing.assert_allclose(list(terms.values()), 0.0, atol=1e-9)


def test_aggregate_posterior_does_not_depend_on_the_block_size(monkeypatch):
    posteriors = gaussian_posteriors(101, np.eye(3), np.full(3, 0.5))
    whole = aggregate_posterior(*posteriors)
    monkeypatch.setattr(elbo_module, "_BLOCK_ELEMENTS", 7 * 101)  # ragged: 101 = 14 * 7 + 3
    assert aggregate_posterior(*posteriors) == pytest.approx(whole)
    z, z_mean, z_log_var = (np.asarray(a)[:, None] for a in posteriors)  # against the table in one piece
    table = stats.norm.logpdf(z, z_mean.swapaxes(0, 1), np.exp(z_log_var.swapaxes(0, 1) / 2)).sum(axis=-1)
    log_q_z = special.logsumexp(table, axis=1) - np.log(101)
    assert whole["mutual_information"] == pytest.approx(np.mean(np.diag(table) - log_q_z))


# --- Errors say what, received, remedy


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bits_per_dim(1.0, 0), r"n_dims.*received 0.*height"),
        (lambda: mse(np.zeros((2, 4)), np.zeros((2, 1))), r"\(2, 4\) and \(2, 1\).*Pass"),
        (lambda: psnr(np.zeros(4), np.zeros(4)), r"\(4,\).*Pass"),
        (lambda: active_units(np.zeros(4)), r"z_mean.*\(4,\).*Reshape"),
        (lambda: active_units(np.zeros((0, 4))), r"none of them empty.*\(0, 4\)"),
        (lambda: gaussian_kl(np.zeros((2, 4)), np.zeros((1, 4))), r"z_log_var \(1, 4\).*same images"),
        (lambda: iwae(np.zeros(5)), r"log_weights.*\(5,\).*None"),
        (lambda: gaussian_log_prob(0.0, 0.0, 0.0), r"\(\), \(\), \(\)"),
        (lambda: aggregate_posterior(np.zeros((3, 2)), np.zeros((3, 2)), np.zeros(2)), r"\(2,\)"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
