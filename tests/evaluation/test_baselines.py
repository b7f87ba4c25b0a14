"""Oracles: the density against SciPy, the bound against cells, files that decode back."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.stats import multivariate_normal, norm

from vae_lib.evaluation.baselines import (
    codec_bits_per_dim,
    encode,
    fit_pca,
    keep_components,
    log_prob_bound,
    mosaic,
    reconstruct,
)
from vae_lib.metrics.elbo import bits_per_dim
from vae_lib.metrics.reconstruction import mse
from vae_lib.utils.errors import InputError


def images(n=200, shape=(4, 5, 1), seed=0):
    """Correlated 8-bit images: three directions and noise."""
    rng = np.random.default_rng(seed)
    n_dims = int(np.prod(shape))
    x = 128 + rng.standard_normal((n, 3)) @ (25 * rng.standard_normal((3, n_dims)))
    return np.clip(x + 6 * rng.standard_normal(x.shape), 0, 255).astype("uint8").reshape(n, *shape)


# --- Probabilistic PCA


def test_the_density_is_the_gaussian_of_the_moments_of_dequantised_images():
    x = images()
    flat, pca = x.reshape(200, -1).astype("float64"), fit_pca(x, 3)
    values, axes = np.linalg.eigh(np.cov(flat, rowvar=False, bias=True) + np.eye(20) / 12)
    noise = values[:-3].mean()
    covariance = noise * np.eye(20) + (axes[:, -3:] * (values[-3:] - noise)) @ axes[:, -3:].T
    # of the cells' centres, x + 1/2, whose mean is that of x, plus 1/2
    density = multivariate_normal(flat.mean(axis=0) + 0.5, covariance).logpdf(flat + 0.5)
    expected = density - np.trace(np.linalg.inv(covariance)) / 24
    np.testing.assert_allclose(log_prob_bound(pca, x), expected, rtol=1e-9)


@pytest.mark.parametrize("n_components", [0, 1, 3, 5])
def test_the_first_axes_are_the_fit_of_fewer(n_components):
    x = images()
    fewer, fitted = keep_components(fit_pca(x, 5), n_components), fit_pca(x, n_components)
    np.testing.assert_allclose(log_prob_bound(fewer, x), log_prob_bound(fitted, x))
    np.testing.assert_array_equal(reconstruct(fewer, x), reconstruct(fitted, x))
    with pytest.raises(InputError, match="the 5 fitted"):
        keep_components(fit_pca(x, 5), 6)


def test_the_bound_is_the_mean_density_over_the_cell(rng):
    x, pca = images()[:3], fit_pca(images(), 3)
    noise = rng.random((4000, 3, 20)) - 0.5  # around the centre, which is at the mean's place
    sampled = np.mean([pca.score_samples(x.reshape(3, -1) + u) for u in noise], axis=0)
    np.testing.assert_allclose(log_prob_bound(pca, x), sampled, atol=0.1)


def test_the_bound_lies_below_the_exact_probability_of_a_cell_and_sums_to_less_than_1():
    values = np.arange(256, dtype="uint8").reshape(256, 1, 1, 1)
    pca = fit_pca(np.array([90, 97, 100, 103, 110], "uint8").reshape(5, 1, 1, 1), 0)
    bell = norm(pca.mean_[0] + 0.5, np.sqrt(pca.noise_variance_))
    exact = np.log(np.diff(bell.cdf(np.arange(257.0)))[80:120])
    bound = log_prob_bound(pca, values)
    assert (bound[80:120] < exact).all()
    np.testing.assert_allclose(bound[80:120], exact, atol=0.02)
    assert 0.99 < np.exp(bound).sum() < 1.0


def test_no_model_codes_uniform_noise_in_less_than_8_bits(rng):
    x = rng.integers(0, 256, (3000, 3, 3, 1), dtype="uint8")
    assert bits_per_dim(-log_prob_bound(fit_pca(x[:1500], 2), x[1500:]).mean(), 9) > 8.0


def test_more_axes_reconstruct_better_and_none_at_all_give_the_mean_image():
    x = images()
    errors = [mse(x, reconstruct(fit_pca(x, d), x)) for d in (0, 1, 2, 3, 19)]
    assert errors == sorted(errors, reverse=True) and errors[3] < 50 and errors[4] < errors[3]
    mean = np.round(x.mean(axis=0)).astype("uint8")
    np.testing.assert_array_equal(reconstruct(fit_pca(x, 0), x[:2]), [mean, mean])
    for shift in (-2.0, 1.0, 5.0):  # no constant beats the mean image
        assert errors[0] < mse(x, np.clip(mean + shift, 0, 255) + np.zeros(x.shape))


def test_constant_pixels_are_no_obstacle():
    x = images(500)
    x[:, 0] = 0
    assert np.isfinite(log_prob_bound(fit_pca(x, 3), x)).all()


@pytest.mark.parametrize(("shape", "n", "words"), [((65, 64, 1), 2, "4,096"), ((4, 5, 1), 20, "to 3")])
def test_what_pca_cannot_do_is_said(shape, n, words):
    with pytest.raises(InputError, match=words):
        fit_pca(np.zeros((3, *shape), "uint8"), n)


# --- Coders


@pytest.mark.parametrize("codec", ["PNG", "WebP"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_file_decodes_back_to_the_same_pixels(codec, channels, rng):
    pixels = rng.integers(0, 256, (16, 24, channels), dtype="uint8")
    pixels[:4, ..., -1] = 0  # colours under full transparency are pixels, too
    decoded = np.asarray(Image.open(io.BytesIO(encode(pixels, codec))))
    np.testing.assert_array_equal(decoded.reshape(16, 24, -1)[..., :channels], pixels)


@pytest.mark.parametrize("codec", ["PNG", "WebP"])
def test_noise_costs_8_bits_and_a_constant_next_to_none(codec, rng):
    noise = rng.integers(0, 256, (100, 16, 16, 1), dtype="uint8")
    assert 8.0 <= codec_bits_per_dim(noise, codec)[0] < 8.5
    assert codec_bits_per_dim(np.full_like(noise, 7), codec)[0] < 0.1


def test_bits_count_every_byte_of_every_mosaic_once(rng):
    x = rng.integers(0, 256, (47, 8, 8, 1), dtype="uint8")
    bits, n = codec_bits_per_dim(x, "PNG", per_mosaic=20, seed=3)
    order = np.random.default_rng(3).permutation(47)
    files = [encode(mosaic(x[order[i : i + 20]]), "PNG") for i in (0, 20)]
    assert n == 40 and bits == pytest.approx(8 * sum(map(len, files)) / (40 * 64))
    assert codec_bits_per_dim(x, "PNG", n_mosaics=1, per_mosaic=20)[1] == 20


@pytest.mark.parametrize(("n", "rows", "columns"), [(1000, 25, 40), (179, 10, 17), (7, 1, 7)])
def test_a_mosaic_lays_images_row_by_row(n, rows, columns, rng):
    x = rng.integers(0, 256, (n, 3, 2, 3), dtype="uint8")
    tiles = mosaic(x)
    assert tiles.shape == (3 * rows, 2 * columns, 3)
    np.testing.assert_array_equal(tiles[-3:, -2:], x[rows * columns - 1])
    np.testing.assert_array_equal(tiles[:3, 2:4], x[1])


@pytest.mark.parametrize(("codec", "channels"), [("JPEG", 1), ("PNG", 2)])
def test_what_no_coder_does_is_said(codec, channels):
    with pytest.raises(InputError, match=f"{codec}.*{channels}"):
        codec_bits_per_dim(np.zeros((3, 8, 8, channels), "uint8"), codec)
