"""Reported losses whose reduction is known: the beta is their ratio of factors."""

import numpy as np
import pytest

import vae_lib as vl
from vae_lib.metrics.elbo import gaussian_kl

H, W, C, LATENTS, BATCH = 6, 10, 3, 5, 48
D = H * W * C


@pytest.fixture
def arrays(rng):
    """Images, reconstructions near them, and codes of a fair KL."""
    reconstruction = rng.uniform(0.02, 0.98, (200, H, W, C))
    x = np.clip(reconstruction + rng.normal(0, 0.15, reconstruction.shape), 0, 1)
    z_mean, z_log_var = rng.normal(0, 0.9, (200, LATENTS)), rng.normal(-1.5, 0.1, (200, LATENTS))
    return {"x": x, "reconstruction": reconstruction, "z_mean": z_mean, "z_log_var": z_log_var}


def bce(arrays):
    x, p = arrays["x"], arrays["reconstruction"]
    return -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum() / len(x)


def kl(arrays):
    return gaussian_kl(arrays["z_mean"], arrays["z_log_var"]).sum(axis=1).mean()


def examine(arrays, of_pixels=1.0, of_kl=1.0, beta=1.0, weight=1.0, **known):
    """Examine arrays with a history whose loss is weight x the reconstruction loss + beta x the KL."""
    pixels, rate = of_pixels * bce(arrays), of_kl * kl(arrays)
    history = {
        "reconstruction_loss": [1.05 * pixels, 1.02 * pixels, 1.01 * pixels, pixels],
        "kl_loss": [0.9 * rate, 1.02 * rate, 0.97 * rate, rate],
    }
    history["loss"] = [weight * r + beta * k for r, k in zip(*history.values(), strict=True)]
    return vl.diagnose(history, arrays, **known)


def beta_of(diagnosis):
    (fault,) = [fault for fault in diagnosis.faults if fault.name == "true beta"]
    return float(fault.evidence.partition("that is a beta of ")[2].partition(",")[0])


@pytest.mark.parametrize(
    ("of_pixels", "of_kl", "expected"),
    [
        (1 / D, 1, D),
        (1 / C, 1, C),
        (C / D, 1, D / C),
        (1, 1 / LATENTS, 1 / LATENTS),
        (1 / D, 1 / LATENTS, D / LATENTS),
        (BATCH, 1, 1 / BATCH),
        (1, BATCH, BATCH),
        (BATCH / C, 1, C / BATCH),
    ],
)
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_true_beta_is_the_ratio_of_the_two_reductions(of_pixels, of_kl, expected, beta, arrays):
    diagnosis = examine(
        arrays,
        of_pixels,
        of_kl,
        beta,
        batch_size=BATCH,
        loss="bce",  # of these images 1/60 of the cross-entropy is half the squared error
    )
    assert beta_of(diagnosis) == pytest.approx(beta * expected, rel=0.01)


def test_the_last_axis_of_images_without_channels_is_told(rng):
    reconstruction = rng.uniform(0.02, 0.98, (200, H, W))
    arrays = {"x": np.round(reconstruction), "reconstruction": reconstruction}
    last = bce(arrays) / W
    history = {"bce": [1.1 * last, last], "loss": [1.1 * last + 2, last + 2], "kl": [2.0, 2.0]}
    assert beta_of(vl.diagnose(history, arrays)) == pytest.approx(W, rel=0.01)


def test_right_sums_and_both_terms_with_one_factor_keep_their_beta(arrays):
    assert not examine(arrays, beta=4.0).faults
    both = examine(arrays, BATCH, BATCH, batch_size=BATCH)
    assert not both.faults and "scale of the loss" in {finding.name for finding in both.findings}
    weighted = examine(arrays, 1 / D, 1, weight=D)  # the history has the mean, and the loss D times it
    assert not weighted.faults


def test_a_weight_of_the_kl_other_than_was_said_is_named(arrays):
    weight = 0.1  # such as batch_size / n_images, which PyTorch-VAE multiplies by
    pixels, rate = bce(arrays), kl(arrays)
    history = {"recons_loss": [pixels] * 2, "kl": [rate] * 2, "loss": [pixels + weight * rate] * 2}
    assert not vl.diagnose(history, arrays).faults  # nothing says that another was meant
    assert beta_of(vl.diagnose(history, arrays, beta=1.0)) == pytest.approx(weight, rel=0.05)


def test_a_negative_kl_is_a_fault_only_where_the_loss_follows_it():
    epochs = {"recon_loss": [90.0, 80.0, 75.0, 74.0], "KLD": [-3.0, -5.0, -6.0, -6.0]}
    added = {"loss": [r + k for r, k in zip(*epochs.values(), strict=True)]}
    logged = {"loss": [r - 0.5 * k for r, k in zip(*epochs.values(), strict=True)]}
    assert [f.name for f in vl.diagnose(epochs).faults] == ["sign of the KL"]
    assert [f.name for f in vl.diagnose(epochs | added).faults] == ["sign of the KL"]
    (remark,) = vl.diagnose(epochs | logged).findings
    assert remark.name == "sign of the KL in the history" and not remark.is_fault


def test_a_loss_of_another_kind_is_not_judged(arrays):
    history = {"reconstruction_loss": [7e5, 6.5e5], "kl_loss": [kl(arrays)] * 2}
    (remark,) = vl.diagnose(history, arrays).findings[:1]
    assert remark.name == "unknown reconstruction loss" and "--batch_size" in remark.remedy
    assert not vl.diagnose(history, arrays, loss="other").faults


def test_a_learned_prior_leaves_out_what_assumes_another(arrays):
    history = {"kl_loss": [2 * kl(arrays)] * 3}
    assert [f.name for f in vl.diagnose(history, arrays).faults] == ["formula of the KL"]
    learned = vl.diagnose(history, arrays, learned_prior=True)
    assert not learned.faults and learned.not_checked["prior and codes"] == "a prior N(0, I)"
