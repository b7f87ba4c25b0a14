"""Oracles: the density against SciPy and scikit-learn, the bound against cells, files that decode back."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.stats import multivariate_normal, norm
from sklearn.decomposition import PCA

from vae_lib.evaluation import baselines
from vae_lib.evaluation.baselines import Ppca, codec_bits_per_dim, encode, fit_ppca, mosaic
from vae_lib.metrics.elbo import bits_per_dim
from vae_lib.metrics.reconstruction import mse
from vae_lib.utils.errors import InputError


def images(n=200, shape=(4, 5, 1), seed=0):
    """Correlated 8-bit images: three directions and noise."""
    rng = np.random.default_rng(seed)
    n_dims = int(np.prod(shape))
    x = 128 + rng.standard_normal((n, 3)) @ (25 * rng.standard_normal((3, n_dims)))
    return np.clip(x + 6 * rng.standard_normal(x.shape), 0, 255).astype("uint8").reshape(n, *shape)


def full_covariance(ppca):
    """C = axes' (variances - noise) axes + noise I."""
    excess = (ppca.axes.T * (ppca.variances - ppca.noise_variance)) @ ppca.axes
    return excess + ppca.noise_variance * np.eye(len(ppca.mean))


# --- Probabilistic PCA


def test_the_density_is_that_of_scikit_learn_and_of_the_full_gaussian(rng):
    x = rng.standard_normal((300, 6)) @ rng.standard_normal((6, 6)) + 3.0
    pca = PCA(2).fit(x)
    ppca = Ppca(pca.mean_, pca.components_, pca.explained_variance_, pca.noise_variance_)
    assert ppca.log_density(x).mean() == pytest.approx(pca.score(x))
    np.testing.assert_allclose(
        ppca.log_density(x), multivariate_normal(ppca.mean, full_covariance(ppca)).logpdf(x)
    )


def test_the_fit_is_scikit_learn_s_on_the_moments_of_dequantised_images():
    x = images()
    flat, ppca = x.reshape(200, -1).astype("float64"), fit_ppca(x, 3)
    pca = PCA(3).fit(flat)
    np.testing.assert_allclose(ppca.variances - 1 / 12, pca.explained_variance_ * 199 / 200)
    np.testing.assert_allclose(np.abs(np.sum(ppca.axes * pca.components_, axis=1)), 1.0)
    np.testing.assert_allclose(ppca.mean, flat.mean(axis=0) + 0.5)
    expected = np.clip(np.round(pca.inverse_transform(pca.transform(flat))), 0, 255)
    np.testing.assert_allclose(ppca.reconstruct(x).reshape(200, -1), expected, atol=1)


@pytest.mark.parametrize("latent_dim", [0, 1, 3, 5])
def test_the_leading_axes_are_the_fit_of_fewer(latent_dim):
    x = images()
    fewer, fitted = fit_ppca(x, 5).leading(latent_dim), fit_ppca(x, latent_dim)
    np.testing.assert_allclose(fewer.log_prob_bound(x), fitted.log_prob_bound(x))
    assert fewer.axes.shape == fitted.axes.shape
    with pytest.raises(InputError, match="the 5 axes"):
        fit_ppca(x, 5).leading(6)


def test_the_bound_is_the_mean_density_over_the_cell(rng):
    x = images()[:3]
    ppca = fit_ppca(images(), 3)
    noise = rng.random((4000, *x.shape))
    sampled = np.mean([ppca.log_density(x + u) for u in noise], axis=0)
    np.testing.assert_allclose(ppca.log_prob_bound(x), sampled, atol=0.1)


def test_the_bound_lies_below_the_exact_probability_of_a_cell_and_sums_to_less_than_1():
    values = np.arange(256, dtype="uint8").reshape(256, 1, 1, 1)
    ppca = fit_ppca(np.array([90, 97, 100, 103, 110], "uint8").reshape(5, 1, 1, 1), 0)
    bell = norm(ppca.mean[0], np.sqrt(ppca.noise_variance))
    exact = np.log(np.diff(bell.cdf(np.arange(257.0)))[80:120])
    bound = ppca.log_prob_bound(values)
    assert (bound[80:120] < exact).all()
    np.testing.assert_allclose(bound[80:120], exact, atol=0.02)
    assert 0.99 < np.exp(bound).sum() < 1.0


def test_no_model_codes_uniform_noise_in_less_than_8_bits(rng):
    x = rng.integers(0, 256, (3000, 3, 3, 1), dtype="uint8")
    assert bits_per_dim(-fit_ppca(x[:1500], 2).log_prob_bound(x[1500:]).mean(), 9) > 8.0


def test_more_axes_reconstruct_better_and_none_at_all_give_the_mean_image():
    x = images()
    errors = [mse(x, fit_ppca(x, d).reconstruct(x)) for d in (0, 1, 2, 3, 19)]
    assert errors == sorted(errors, reverse=True) and errors[3] < 50 and errors[4] < errors[3]
    mean = np.round(x.mean(axis=0)).astype("uint8")
    np.testing.assert_array_equal(fit_ppca(x, 0).reconstruct(x[:2]), [mean, mean])


def test_constant_pixels_and_images_in_blocks_are_no_obstacle(monkeypatch):
    x = images(500)
    x[:, 0] = 0
    whole = fit_ppca(x, 3).log_prob_bound(x)
    monkeypatch.setattr(baselines, "_BLOCK", 70)
    np.testing.assert_allclose(fit_ppca(x, 3).log_prob_bound(x), whole)
    assert np.isfinite(whole).all()


@pytest.mark.parametrize(("shape", "latent_dim", "words"), [((65, 64, 1), 2, "4,096"), ((4, 5, 1), 20, "19")])
def test_what_pca_cannot_do_is_said(shape, latent_dim, words):
    with pytest.raises(InputError, match=words):
        fit_ppca(np.zeros((3, *shape), "uint8"), latent_dim)


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


# --- The table


def test_the_table_scores_test_images_and_no_constant_beats_the_mean_image():
    train, test = images(300), images(100, seed=1)
    table = baselines.baseline_table(train, train, 3).set_index("baseline")
    assert list(table.index) == ["mean image", "PCA, 3 axes", "PNG", "WebP"]
    for shift in (-2.0, 1.0, 5.0):
        constant = np.broadcast_to(train.mean(axis=0) + shift, train.shape)
        assert table.loc["mean image", "mse"] < mse(train, constant)
    assert table["bits_per_dim"].isna().tolist() == [True, False, False, False]
    held_out = baselines.baseline_table(train, test, 3).set_index("baseline")
    assert held_out.loc["PCA, 3 axes", "mse"] < held_out.loc["mean image", "mse"]
