import numpy as np

from vae_lib.training.annealing import annealed_beta


def test_linear_annealing_rises_evenly_and_stays():
    betas = [annealed_beta(step, 4.0, "linear", 10) for step in range(15)]
    np.testing.assert_allclose(betas[:11], np.linspace(0, 4, 11))
    assert betas[11:] == [4.0] * 4


def test_cyclical_annealing_rises_over_half_of_each_cycle():
    betas = [annealed_beta(step, 2.0, "cyclical", 8) for step in range(16)]
    np.testing.assert_allclose(betas[:8], [0, 0.5, 1, 1.5, 2, 2, 2, 2])
    assert betas[8:] == betas[:8]


def test_without_annealing_beta_is_beta():
    assert annealed_beta(0, 3.0, "none", 0) == 3.0
