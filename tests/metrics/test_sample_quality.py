"""Oracles: closed forms of Gaussians, equal and disjoint sets, dropped modes, planted copies."""

import numpy as np
import pytest

from vae_lib.metrics import sample_quality


def normal(n: int, n_features: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, n_features))


# --- Frechet distance


def test_frechet_of_equal_sets_is_zero_even_where_the_covariance_is_singular():
    assert sample_quality.frechet_distance(normal(50), normal(50)) == pytest.approx(0.0, abs=1e-9)
    few = normal(5, n_features=20)
    assert sample_quality.frechet_distance(few, few) == pytest.approx(0.0, abs=1e-6)


def test_frechet_of_a_shift_is_its_squared_length():
    shift = np.array([1.0, -2.0, 0.0, 0.5])
    assert sample_quality.frechet_distance(normal(100), normal(100) + shift) == pytest.approx(shift @ shift)


def test_frechet_of_scaled_gaussians_is_the_squared_difference_of_deviations():
    white = normal(200)
    white = np.linalg.solve(np.linalg.cholesky(np.cov(white, rowvar=False)), (white - white.mean(0)).T).T
    s, t = np.array([1.0, 2.0, 0.5, 3.0]), np.array([2.0, 2.0, 1.0, 0.5])
    assert sample_quality.frechet_distance(white * s, white * t) == pytest.approx(np.sum((s - t) ** 2))


def test_frechet_of_covariances_that_do_not_commute():
    rng = np.random.default_rng(0)
    mix_a, mix_b = rng.normal(size=(2, 3, 3))
    a, b = normal(300, 3) @ mix_a, normal(400, 3, seed=1) @ mix_b
    # independent route: the eigenvalues of the product itself, which are those of a positive matrix
    product = np.linalg.eigvals(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    trace = np.cov(a, rowvar=False).trace() + np.cov(b, rowvar=False).trace() - 2 * np.sqrt(product).sum()
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + trace
    assert sample_quality.frechet_distance(a, b) == pytest.approx(expected)
    assert sample_quality.frechet_distance(b, a) == pytest.approx(expected)


def test_frechet_between_equal_distributions_falls_with_n():
    floors = [sample_quality.frechet_distance(normal(n, 16), normal(n, 16, seed=1)) for n in (50, 200, 800)]
    assert floors == sorted(floors, reverse=True)
    assert floors[0] > 5 * floors[-1] > 0


def test_frechet_takes_a_single_feature():
    assert sample_quality.frechet_distance([[0.0], [2.0]], [[3.0], [5.0]]) == pytest.approx(9.0)


# --- Kernel distance


def test_kernel_distance_is_unbiased_and_its_standard_error_honest():
    draws = [
        sample_quality.kernel_distance(normal(60, seed=2 * i), normal(60, seed=2 * i + 1)) for i in range(200)
    ]
    values, errors = np.array(draws).T
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))  # a biased one is off by 2 E k / n
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.25)


def test_kernel_distance_of_a_linear_kernel_is_the_squared_distance_of_means(monkeypatch):
    monkeypatch.setattr(sample_quality, "_DEGREE", 1)
    a, b = normal(4000), normal(4000, seed=1) + np.array([2.0, 0.0, 0.0, 0.0])
    value, error = sample_quality.kernel_distance(a, b)
    assert abs(value - 4.0 / 4) < 4 * error  # k = x.y / n_features + 1
    assert error < 0.05


def test_kernel_distance_sees_a_shift_and_a_change_of_scale():
    for other in (normal(500, seed=1) + 0.7, 1.5 * normal(500, seed=1)):
        value, error = sample_quality.kernel_distance(normal(500), other)
        assert value > 4 * error > 0


def test_kernel_distance_is_fixed_by_its_seed():
    a, b = normal(100), normal(90, seed=1)
    assert sample_quality.kernel_distance(a, b, seed=3) == sample_quality.kernel_distance(a, b, seed=3)
    assert sample_quality.kernel_distance(a, b, seed=3) != sample_quality.kernel_distance(a, b, seed=4)


# --- Precision and recall


def test_precision_and_recall_of_equal_and_of_far_sets():
    assert sample_quality.precision_recall(normal(100), normal(100)) == {"precision": 1.0, "recall": 1.0}
    assert sample_quality.precision_recall(normal(100), normal(100) + 50.0) == {
        "precision": 0.0,
        "recall": 0.0,
    }


def test_a_dropped_mode_costs_recall_and_strays_cost_precision():
    modes = np.repeat([[0.0], [30.0]], 200, axis=0)
    both = normal(400) + modes
    first = normal(400, seed=1)
    dropped = sample_quality.precision_recall(both, first)
    assert dropped["precision"] > 0.85
    assert dropped["recall"] == pytest.approx(0.5, abs=0.08)
    reversed_ = sample_quality.precision_recall(first, both)
    assert (reversed_["precision"], reversed_["recall"]) == (dropped["recall"], dropped["precision"])


def test_the_ball_reaches_to_the_kth_neighbour_not_counting_the_point_itself():
    real = np.array([[0.0], [1.0], [3.0], [7.0]])  # radii: k = 1: 1, 1, 2, 4; k = 2: 3, 2, 3, 6
    generated = np.array([[-2.0], [8.0], [11.5], [50.0]])
    assert sample_quality.precision_recall(real, generated, n_neighbors=1)["precision"] == 0.25  # 8
    assert sample_quality.precision_recall(real, generated, n_neighbors=2)["precision"] == 0.75  # -2, 8, 11.5


# --- Copying


def test_copies_are_flagged_and_point_to_their_originals():
    train, test, fresh = normal(1000, 8), normal(1000, 8, seed=1), normal(900, 8, seed=2)
    originals = np.arange(0, 1000, 10)
    samples = np.concatenate([train[originals] + 1e-3, fresh])
    found = sample_quality.nearest_neighbours(samples, train, test)
    assert found["copied"][:100].all()
    np.testing.assert_array_equal(found["index"][:100], originals)
    assert found["copied"][100:].mean() < 0.03


def test_new_data_are_copies_as_often_as_the_quantile_says():
    train, test, fresh = normal(500), normal(2000, seed=1), normal(2000, seed=2)
    found = sample_quality.nearest_neighbours(fresh, train, test, quantile=0.2)
    assert found["copied"].mean() == pytest.approx(0.2, abs=0.04)


def test_distances_are_euclidean_distances_to_the_nearest_training_image():
    found = sample_quality.nearest_neighbours(
        [[3.0, 4.0], [9.0, 0.0]], [[0.0, 0.0], [10.0, 0.0]], [[10.0, 2.0]]
    )
    np.testing.assert_allclose(found["distance"], [5.0, 1.0])
    np.testing.assert_array_equal(found["index"], [0, 1])
    np.testing.assert_allclose(found["test_distance"], [2.0])
    np.testing.assert_array_equal(found["copied"], [False, True])


# --- Errors say what, received, remedy


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sample_quality.frechet_distance(normal(9), normal(9, 5)),
            r"a \(9, 4\), b \(9, 5\).*one feature",
        ),
        (
            lambda: sample_quality.frechet_distance(np.zeros((9, 28, 28)), normal(9)),
            r"\(9, 28, 28\).*Flatten",
        ),
        (lambda: sample_quality.frechet_distance(normal(1), normal(9)), r"n >= 2.*a \(1, 4\)"),
        (lambda: sample_quality.kernel_distance(normal(9), normal(30)), r"n >= 20.*a \(9, 4\)"),
        (lambda: sample_quality.precision_recall(normal(3), normal(9)), r"n >= 4.*real \(3, 4\)"),
        (
            lambda: sample_quality.precision_recall(normal(9), normal(9), n_neighbors=0),
            r"n_neighbors.*Got 0",
        ),
        (lambda: sample_quality.nearest_neighbours(normal(9), normal(9), normal(0)), r"test \(0, 4\)"),
        (
            lambda: sample_quality.nearest_neighbours(normal(9), normal(9), normal(9), 1.0),
            r"quantile.*received 1",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
