import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from vae_lib.apps.bit_stack import FAR, NEAR, BitStack, level_probabilities
from vae_lib.models.likelihoods import DiscretizedLogistic
from vae_lib.utils.errors import InputError


def noise(n, seed=0):
    return np.random.default_rng(seed).integers(1, 2**32, n, dtype="uint32")


def bits_of(stack):
    return 32 * len(stack)


def logistics(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.2, 1.2, n).astype("float32"), rng.uniform(-7.5, 3, n).astype("float32")


def test_levels_have_the_probabilities_of_the_likelihood():
    likelihood, rng = DiscretizedLogistic(), np.random.default_rng(0)
    params = rng.normal(0, [0.5, 3.0], (50, 1, 1, 2)).astype("float32")
    levels = np.arange(256, dtype="float32") / 255
    expected = [
        np.exp(likelihood.log_prob(np.full((50, 1, 1, 1), level, "float32"), params)) for level in levels
    ]
    location, log_scale = (np.ravel(values) for values in likelihood._split(params)[:2])
    found = level_probabilities(location, log_scale)
    np.testing.assert_allclose(found, np.stack(expected, axis=1), atol=2e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2047, 2049, 5000])
def test_pixels_cost_what_their_probabilities_say(n):
    location, log_scale = logistics(n)
    table, rng = level_probabilities(location, log_scale).astype("float64"), np.random.default_rng(1)
    levels = (table.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, 255)
    stack = BitStack(noise(10))
    before = bits_of(stack)
    stack.push_pixels(levels, location, log_scale)
    ideal = -np.log2(table[np.arange(n), levels]).sum()
    assert ideal - 64 <= bits_of(stack) - before <= 1.001 * ideal + 64
    assert (stack.pop_pixels(location, log_scale) == levels).all() and (stack.words == noise(10)).all()


@given(
    st.lists(st.tuples(st.floats(-1e30, 1e30), st.floats(0, 1e30)), min_size=1, max_size=20),
    st.integers(1, 8),
)
def test_latents_of_any_posterior_are_pushed_by_it_and_by_the_prior(parameters, bits):
    mean, deviation = np.array(parameters).T
    stack = BitStack(noise(60))
    cells = stack.pop_latents(mean, deviation, bits)
    drawn = stack.words
    stack.push_latents(cells, mean, deviation, bits)
    assert (stack.words == noise(60)).all()
    zero, one, stack = np.zeros(len(mean)), np.ones(len(mean)), BitStack(drawn)
    stack.push_latents(cells, zero, one, bits, FAR)
    assert (stack.pop_latents(zero, one, bits, FAR) == cells).all() and (stack.words == drawn).all()


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.3, 0.01), (2.0, 0.3), (-2.0, 1.2)])
def test_latents_are_normal_and_cost_what_normal_densities_say(mean, deviation):
    n, bits = 20_000, 8
    parameters, stack = (np.full(n, mean), np.full(n, deviation)), BitStack(noise(n))
    before = bits_of(stack)
    cells = stack.pop_latents(*parameters, bits)
    popped, z = before - bits_of(stack), (cells + 0.5) * 2.0**-bits
    standard = (z - mean) / deviation
    assert abs(standard.mean()) < 0.03 and abs(standard.std() - 1) < 0.02
    assert np.abs(standard).max() <= NEAR  # none is far out, however rarely
    entropy = math.log2(deviation * 2**bits * math.sqrt(2 * math.pi * math.e))
    assert popped / n == pytest.approx(entropy, abs=0.03)
    left = bits_of(stack)
    stack.push_latents(cells, np.zeros(n), np.ones(n), bits, FAR)
    cost = bits - norm.logpdf(z).mean() / math.log(2)
    assert (bits_of(stack) - left) / n == pytest.approx(cost, abs=0.06)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_that_are_not_finite_are_refused(value):
    one, stack = np.ones(1), BitStack(noise(9))
    for call in (
        lambda: stack.pop_latents(one * value, one, 8),
        lambda: stack.pop_pixels(one, one * value),
    ):
        with pytest.raises(InputError, match="not finite"):
            call()
