"""Which latents, since when, and where it began: from arrays and histories with known answers."""

import numpy as np
import pytest

import vae_lib as vl


def names(diagnosis):
    return [finding.name for finding in diagnosis.findings]


def codes(rng, active, latents=6, n=500):
    """Codes of which only some latents follow the image; all together meet N(0, I)."""
    z_mean, z_log_var = np.zeros((n, latents)), np.zeros((n, latents))
    z_mean[:, active], z_log_var[:, active] = rng.normal(0, 0.8, (n, len(active))), np.log(0.36)
    return {"z_mean": z_mean, "z_log_var": z_log_var}


def test_inactive_latents_are_listed_and_only_a_full_collapse_is_a_fault(rng):
    some, none, every = (vl.diagnose(codes(rng, active)) for active in ([1, 4], [], list(range(6))))
    assert names(some) == ["inactive latents"] and not some.faults
    assert "4 of 6, counted from 0: 0, 2, 3, 5;" in some.findings[0].evidence
    assert names(none) == ["posterior collapse"] and "all 6 latents" in none.faults[0].evidence
    assert not every.findings


def test_a_collapse_is_dated_by_the_history(rng):
    history = {"epoch": range(10, 16), "kl": [3.0, 0.5, 0.001, 0.2, 0.004, 0.001]}
    (alone,) = vl.diagnose(history).faults
    (both,) = vl.diagnose(history, codes(rng, [])).faults
    assert alone.name == both.name == "posterior collapse"
    assert "since epoch 14" in alone.evidence and "since epoch 14" in both.evidence
    parts = vl.diagnose({"kl": [3.0, 3.0], "kl_1": [0.001, 0.001], "kl_2": [2.9, 3.0]})
    assert names(parts) == ["inactive latents"] and "part 1 " in parts.findings[0].evidence


def test_codes_away_from_the_prior_are_numbered(rng):
    shifted = codes(rng, list(range(6)))
    shifted["z_mean"][:, 2] += 3
    (fault,) = vl.diagnose(shifted).faults
    assert fault.name == "prior and codes" and "1 of 6 latents are not where N(0, 1) is: 2 " in fault.evidence


def test_nan_is_placed_by_epoch_column_and_image(rng):
    arrays = codes(rng, [0]) | {"x": rng.random((500, 4)), "reconstruction": rng.random((500, 4))}
    arrays["z_log_var"][7, 3] = arrays["reconstruction"][7, 0] = np.inf
    (fault,) = [f for f in vl.diagnose(arrays).faults if f.name == "NaN"]
    assert "1 of 3,000 values of z_log_var" in fault.evidence and "number 7;" in fault.evidence
    arrays["x"][3, 1] = np.nan
    (fault,) = [f for f in vl.diagnose(arrays).faults if f.name == "NaN"]
    assert "values of x" in fault.evidence and "number 3" in fault.evidence and "repair" in fault.remedy
    history = {"loss": [9.0, 8.0, np.nan], "kl": [1.0, np.inf, np.nan]}
    (fault,) = vl.diagnose(history).faults
    assert "in epoch 2, in kl; the epoch before had loss 9, kl 1" in fault.evidence


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ({"loss": [9, 8, 7, 6, 5, 4, 3], "val_loss": [9, 8, 7, 7.5, 8, 8.5, 9]}, ["overfitting"]),
        ({"loss": [9, 8, 7, 6, 5, 4, 3], "val_loss": [9, 8, 7, 7.01, 7.02, 7, 7.02]}, []),  # flat
        ({"loss": [9, 8, 7, 7.5, 8, 8.5, 9], "val_loss": [9, 8, 7, 7.5, 8, 8.5, 9]}, []),  # beta rises
        ({"loss": [9.0, 8, 7, 6, 8, 6, 5.9]}, ["learning rate"]),
        ({"loss": [9.0, 8, 7, 6, 6.1, 6, 5.9]}, []),
        ({"loss": [9.0, 8, 9, 8, 9, 9.2], "beta": [0, 0.1, 0.3, 0.5, 1, 1]}, []),
        ({"loss": [9, 8, 7, 6], "beta": [0.1, 0.2, 0.3, 0.4]}, ["annealing"]),
        ({"loss": [9, 8, 7, 6], "beta": [0.1, 0.2, 0.4, 0.4]}, []),
        ({"loss": [9, 8, 7, 6], "beta": [1, 1, 1, 1]}, []),
    ],
)
def test_the_course_of_a_training_is_judged(history, expected):
    assert names(vl.diagnose(history)) == expected


def test_the_weight_of_the_kl_is_read_off_the_losses_where_it_was_not_logged():
    pixels, kl = np.array([90, 80, 70, 65, 60.0]), np.array([9, 8, 7, 7, 6.5])
    history = {"recon": pixels, "kl": kl, "loss": pixels + np.array([0.1, 0.2, 0.3, 0.4, 0.5]) * kl}
    assert names(vl.diagnose(history)) == ["annealing"]
    history["loss"] = pixels + 0.5 * kl
    assert names(vl.diagnose(history)) == []


def test_probabilities_of_a_second_sigmoid_are_known_by_their_range(rng):
    x = rng.integers(0, 2, (50, 36)).astype("float32")
    once = np.clip(x + rng.normal(0, 0.05, x.shape), 0, 1)
    twice = 1 / (1 + np.exp(-once))
    assert names(vl.diagnose({"x": x, "reconstruction": twice})) == ["sigmoid twice"]
    assert names(vl.diagnose({"x": x, "reconstruction": once})) == []
    for scaled in ({"x": x, "reconstruction": 2 * once - 1}, {"x": 255 * x, "reconstruction": once}):
        assert names(vl.diagnose(scaled)) == ["data range"]
    assert names(vl.diagnose({"bce": [3.0, -40.0]})) == ["data range"]


def test_a_decoder_that_has_learned_little_is_not_taken_for_one_of_another_range(rng):
    x = (rng.random((200, 36)) < 0.05).astype("float32")  # nearer to 2 * reconstruction - 1
    assert names(vl.diagnose({"x": x, "reconstruction": 0.48 + 0.05 * x})) == []
