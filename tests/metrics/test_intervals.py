import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vae_lib.metrics.intervals import mean_interval, paired_difference, standard_error


def test_mean_interval_is_scipys_student_interval():
    values = np.array([3.0, 4.5, 2.5, 5.0, 4.0])
    mean, half_width = mean_interval(values)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (mean - half_width, mean + half_width) == pytest.approx((expected.low, expected.high))
    assert mean_interval(pd.Series(values)) == (mean, half_width)


def test_mean_interval_covers_the_mean_as_often_as_it_says():
    samples = np.random.default_rng(0).normal(2.0, 3.0, size=(2000, 5))
    intervals = np.array([mean_interval(row) for row in samples])
    assert np.mean(np.abs(intervals[:, 0] - 2.0) < intervals[:, 1]) == pytest.approx(0.95, abs=0.015)


@pytest.mark.filterwarnings("error")
def test_one_seed_has_no_interval_and_equal_seeds_one_of_no_width():
    mean, half_width = mean_interval([4.0])
    assert mean == 4.0
    assert np.isnan(half_width)
    assert np.isnan(standard_error([4.0])) and np.isnan(paired_difference([4.0], [3.0])[1])
    assert mean_interval([4.0, 4.0, 4.0]) == (4.0, 0.0)


def test_paired_difference_is_scipys_paired_test_and_cancels_the_seed():
    rng = np.random.default_rng(0)
    seed_effect, noise = rng.normal(0, 10, size=6), rng.normal(0, 0.1, size=6)
    a, b = seed_effect + 1.0 + noise, seed_effect
    mean, half_width = paired_difference(a, b)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (mean - half_width, mean + half_width) == pytest.approx((expected.low, expected.high))
    assert half_width < 0.5 < mean_interval(a)[1]


def test_standard_error_matches_the_spread_of_means():
    samples = np.random.default_rng(0).normal(0.0, 2.0, size=(1000, 100))
    errors = [standard_error(row) for row in samples]
    assert np.mean(errors) == pytest.approx(samples.mean(axis=1).std(), rel=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval(np.zeros((2, 2))), r"`values` \(n\).*received values \(2, 2\).*one value"),
        (lambda: paired_difference([1.0], [1.0, 2.0]), r"a \(1,\), b \(2,\).*seeds that both"),
        (lambda: standard_error([]), r"\(0,\)"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
