import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis
from sklearn.metrics import roc_auc_score

from vae_lib.metrics.novelty import auroc, auroc_interval, mahalanobis, percentile, typicality


@pytest.mark.parametrize("levels", [3, 20, None])
def test_auroc_is_scikit_learns_with_and_without_ties(levels, rng):
    inside, outside = rng.normal(0, 1, 90), rng.normal(0.7, 2, 140)
    if levels:
        inside, outside = (np.round(scores * levels / 4) for scores in (inside, outside))
    labels = np.repeat([0, 1], [90, 140])
    expected = roc_auc_score(labels, np.concatenate([inside, outside]))
    assert auroc(inside, outside) == pytest.approx(expected, abs=1e-12)
    assert auroc(outside, inside) == pytest.approx(1 - expected, abs=1e-12)


def test_auroc_of_sets_apart_of_one_set_and_of_equal_scores():
    assert auroc([1, 2], [3, 4, 5]) == 1.0 and auroc([3, 4], [1]) == 0.0
    assert auroc([1, 2, 3], [3, 2, 1]) == pytest.approx(0.5, abs=1e-12)
    assert auroc_interval([7, 7], [7, 7, 7]) == (0.5, 0.0)
    assert np.isnan(auroc_interval([1], [2])[1])


def test_the_interval_covers_the_true_area_as_often_as_it_says(rng):
    true = 0.760250  # of N(1, 1) against N(0, 1): Phi(1 / sqrt(2))
    found = [auroc_interval(rng.normal(0, 1, 80), rng.normal(1, 1, 50)) for _ in range(1500)]
    values, halves = np.array(found).T
    assert values.mean() == pytest.approx(true, abs=0.005)
    assert np.mean(np.abs(values - true) < halves) == pytest.approx(0.95, abs=0.02)


def test_typicality_is_the_distance_from_the_mean_on_either_side():
    np.testing.assert_allclose(typicality([1.0, 3.0, 6.0], [2.0, 4.0]), [2.0, 0.0, 3.0])


def test_percentile_is_the_share_of_the_reference_below():
    reference = [40.0, 10.0, 30.0, 20.0]
    np.testing.assert_allclose(percentile([5, 10, 25, 41], reference), [0, 0, 50, 100])


def test_mahalanobis_is_scipys(rng):
    reference = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4)) + 3
    z, covariance = rng.normal(size=(20, 4)), np.cov(reference.T)
    expected = [scipy_mahalanobis(row, reference.mean(axis=0), np.linalg.inv(covariance)) for row in z]
    np.testing.assert_allclose(mahalanobis(z, reference), expected)
    np.testing.assert_allclose(mahalanobis([[5.0]], [[1.0], [3.0]]), 3 / np.sqrt(2))


def test_a_direction_without_variance_is_left_out_of_mahalanobis(rng):
    reference = np.column_stack([rng.normal(size=50), np.ones(50)])
    z = np.array([[0.3, 1.0], [0.3, 9.0]])
    np.testing.assert_allclose(mahalanobis(z, reference), 2 * [mahalanobis(z[:1, :1], reference[:, :1])[0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auroc([], [1.0]), r"`inside` \(n\).*received inside \(0,\)"),
        (lambda: percentile([[1.0]], [1.0]), r"received scores \(1, 1\)"),
        (lambda: mahalanobis(np.zeros((2, 3)), np.zeros((5, 2))), r"z \(2, 3\), reference \(5, 2\)"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
