import numpy as np
import pytest
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from vae_lib.latent_space import (
    MixturePrior,
    attribute_direction,
    embed_pca,
    embed_tsne,
    fit_mixture_prior,
    interpolate,
    principal_plane,
    prior_quantile_grid,
    traverse,
)
from vae_lib.metrics.probes import knn_accuracy


def test_pca_finds_the_plane_the_codes_lie_in(rng):
    plane = rng.standard_normal((200, 2)) * [5.0, 2.0]
    codes = plane @ np.linalg.qr(rng.standard_normal((6, 2)))[0].T
    coordinates, explained = embed_pca(codes)
    assert explained.sum() == pytest.approx(1.0) and explained[0] > explained[1]
    distances = np.linalg.norm(coordinates[:, None] - coordinates, axis=-1)
    np.testing.assert_allclose(distances, np.linalg.norm(plane[:, None] - plane, axis=-1), atol=1e-8)


def test_the_principal_plane_holds_the_coordinates_of_pca(rng):
    codes = rng.standard_normal((50, 6)) * [4.0, 3.0, 1.0, 0.5, 0.5, 0.5] + 7.0
    origin, axes, shares = principal_plane(codes)
    coordinates, explained = embed_pca(codes)
    np.testing.assert_allclose((codes - origin) @ axes.T, coordinates, atol=1e-8)
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-12)
    np.testing.assert_array_equal(shares, explained)


def test_tsne_keeps_groups_apart_and_depends_only_on_the_seed(rng):
    labels = np.repeat([0, 1, 2], 40)
    codes = rng.standard_normal((120, 5)) + 8.0 * np.eye(5)[labels]
    with threadpool_limits(1):  # several wait for each other on so few codes
        embedding, again = (embed_tsne(codes, perplexity=10, seed=1) for _ in range(2))
    assert knn_accuracy(embedding[::2], labels[::2], embedding[1::2], labels[1::2], n_neighbors=5) == 1.0
    np.testing.assert_array_equal(embedding, again)


def test_tsne_refuses_the_codes_of_a_collapsed_model():
    with pytest.raises(ValueError, match="50 equal ones"):
        embed_tsne(np.zeros((50, 3)), perplexity=10)


def test_quantile_grid_has_equal_steps_of_probability_and_z1_rises_with_the_row():
    codes, quantiles = prior_quantile_grid(5, tail=0.1)
    np.testing.assert_allclose(quantiles, [0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(norm.cdf(codes[2, :, 0]), quantiles)
    np.testing.assert_allclose(norm.cdf(codes[:, 3, 1]), quantiles)


def test_traversal_moves_one_latent_at_a_time_in_the_order_given():
    z = np.array([0.1, 0.2, 0.3])
    codes = traverse(z, np.array([2, 0]), np.array([-1.0, 5.0]))
    np.testing.assert_array_equal(codes, [[[0.1, 0.2, -1], [0.1, 0.2, 5]], [[-1, 0.2, 0.3], [5, 0.2, 0.3]]])


def test_linear_interpolation_is_the_straight_line():
    path = interpolate(np.array([[0.0, 2.0]]), np.array([[4.0, 0.0]]), 3)
    np.testing.assert_allclose(path, [[[0, 2], [2, 1], [4, 0]]])


def test_spherical_interpolation_keeps_the_length_and_turns_evenly():
    path = interpolate(np.array([[3.0, 0.0]]), np.array([[0.0, 3.0]]), 4, spherical=True)[0]
    np.testing.assert_allclose(np.linalg.norm(path, axis=-1), 3.0)
    np.testing.assert_allclose(np.degrees(np.arctan2(path[:, 1], path[:, 0])), [0, 30, 60, 90])


@pytest.mark.parametrize("end", [[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0]])
def test_spherical_interpolation_without_an_arc_is_the_line(end):
    path = interpolate(np.array([[1.0, 0.0]]), np.array([end]), 3, spherical=True)
    np.testing.assert_allclose(path, interpolate(np.array([[1.0, 0.0]]), np.array([end]), 3))


def test_attribute_direction_is_the_difference_of_the_means(rng):
    has_it = np.arange(100) % 3 == 0
    z = rng.standard_normal((100, 4)) * 1e-3 + has_it[:, None] * np.array([0, 2.0, 0, -1.0])
    np.testing.assert_allclose(attribute_direction(z, has_it), [0, 2, 0, -1], atol=1e-2)
    with pytest.raises(ValueError, match="100 of 100"):
        attribute_direction(z, np.ones(100))


def test_mixture_prior_finds_the_number_of_groups_by_validation(rng):
    def draw(n):
        return rng.standard_normal((n, 2)) * 0.3 + 4.0 * np.eye(2)[rng.integers(0, 2, n)]

    mixture = fit_mixture_prior(draw(400), draw(200), n_components=(1, 2))
    assert mixture.n_components == 2
    np.testing.assert_allclose(np.sort(mixture.mixtures[0].means_.sum(axis=1)), [4, 4], atol=0.2)


def test_with_classes_there_is_a_mixture_of_each_and_their_shares_weigh_them(rng):
    y = np.repeat([0, 1, 2], [600, 300, 100])
    centres = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    z = centres[y] + rng.standard_normal((1000, 2))
    mixture = fit_mixture_prior(z, z, n_components=(1,), y_train=y, y_val=y)
    np.testing.assert_allclose(mixture.shares, [0.6, 0.3, 0.1])
    asked = rng.integers(0, 3, 4000)
    drawn = mixture.sample(4000, asked, seed=1)
    for label, centre in enumerate(centres):
        np.testing.assert_allclose(drawn[asked == label].mean(axis=0), centre, atol=0.3)
        np.testing.assert_allclose(
            mixture.log_prob(z, y)[y == label], mixture.mixtures[label].score_samples(z[y == label])
        )
    np.testing.assert_array_equal(drawn, mixture.sample(4000, asked, seed=1))
    at_centres = mixture.sample(50, np.full(50, 1), seed=1, temperature=0.0)
    np.testing.assert_allclose(at_centres, np.tile(mixture.mixtures[1].means_, (50, 1)), atol=1e-9)
    free = mixture.sample(4000, seed=2)  # classes by their shares
    assert np.mean(free.sum(axis=1) < 3) == pytest.approx(0.6, abs=0.05)
    grid = np.stack(np.meshgrid(np.linspace(-6, 13, 150), np.linspace(-6, 13, 150)), -1).reshape(-1, 2)
    assert np.exp(mixture.log_prob(grid)).sum() * (19 / 149) ** 2 == pytest.approx(1.0, abs=1e-3)


def test_classes_have_noise_of_their_own(rng):
    y = np.repeat([0, 1], 200)
    z = rng.standard_normal((400, 2)) + 9.0 * y[:, None]
    mixture = fit_mixture_prior(z, z, n_components=(1,), y_train=y, y_val=y)
    drawn = [mixture.sample(30, np.full(30, label), seed=1) for label in (0, 1)]
    distances = [
        np.sort(np.linalg.norm((part - m.means_[0]) @ m.precisions_cholesky_[0], axis=1))
        for part, m in zip(drawn, mixture.mixtures, strict=True)
    ]
    assert np.abs(distances[0] - distances[1]).max() > 0.1


def test_a_class_without_codes_has_a_mixture_too(rng):
    y = np.repeat([0, 1], 200)
    z = rng.standard_normal((400, 2)) + 9.0 * y[:, None]
    mixture = fit_mixture_prior(z, z, n_components=(1,), y_train=y, y_val=y, n_classes=3)
    assert len(mixture.mixtures) == 3 and mixture.shares.tolist() == [0.5, 0.5, 0.0]
    assert mixture.sample(5, np.full(5, 2)).shape == (5, 2)


def test_a_mixture_comes_back_from_its_arrays(rng):
    z, y = rng.standard_normal((300, 3)), rng.integers(0, 2, 300)
    mixture = fit_mixture_prior(z, z, n_components=(2,), y_train=y, y_val=y)
    twin = MixturePrior.from_arrays(mixture.to_arrays())
    np.testing.assert_allclose(twin.log_prob(z, y), mixture.log_prob(z, y), rtol=1e-9)
    np.testing.assert_array_equal(twin.sample(20, y[:20]), mixture.sample(20, y[:20]))


def test_whatever_the_class_counts_a_mixture_that_a_file_rounded_can_be_sampled(rng):
    z = rng.standard_normal((61, 2))
    for n_classes in range(2, 11):
        mixture = fit_mixture_prior(
            z, z, n_components=(1,), y_train=np.arange(61) % n_classes, y_val=np.zeros(61, int)
        )
        rounded = {
            name: a.astype("float32") if a.dtype == float else a for name, a in mixture.to_arrays().items()
        }
        twin = MixturePrior.from_arrays(
            {name: a.astype(float) if a.dtype == "float32" else a for name, a in rounded.items()}
        )
        assert np.isfinite(twin.sample(10)).all() and twin.shares.sum() == pytest.approx(1.0, abs=1e-12)


def test_a_single_code_has_a_mixture_too():
    code = np.array([[3.0, -1.0]])
    drawn = fit_mixture_prior(code, code).sample(50)
    np.testing.assert_allclose(drawn, np.tile(code, (50, 1)), atol=0.1)
