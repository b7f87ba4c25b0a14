"""Checks of the codes: latents that say nothing about the image, and codes where the prior is not."""

from collections.abc import Iterator

import numpy as np

from vae_lib.apps.diagnosis.findings import Finding, check
from vae_lib.metrics.elbo import rate_per_dim

# Burda et al. 2016 (arXiv:1509.00519, section 5) call a latent inactive if its z_mean varies by less than
# this over the images, where its own variance is 1; below it tells at most 0.005 nats, 0.5 log(1 + 0.01).
INACTIVE = 0.01
COLLAPSED_KL = 0.01  # nats per image of all latents together: an image's code tells no more than that
FAR = 1.0  # nats: of a latent whose codes have a mean of 1.4, or a variance of 4.5 or 0.05
_REMEDY = (
    "lower beta, or let it rise from 0 over the first epochs (annealing), or lower the learning rate; if the "
    "true beta is another than was set, repair that first"
)


@check("posterior collapse", "z_mean z_log_var", "kl_loss")
def posterior_collapse(z_mean, z_log_var, kl_loss, kl_parts) -> Iterator[Finding]:
    """Look for latents whose codes are the same for all images, and for since when."""
    since = _since(kl_loss)
    if z_mean is not None and z_log_var is not None:
        inactive = _inactive(z_mean, z_log_var)
        rates = rate_per_dim(z_mean, z_log_var)
        if len(inactive) == z_mean.shape[1]:
            yield Finding(
                "posterior collapse",
                f"all {len(inactive)} latents are inactive: the variance of z_mean over images is less than "
                f"{INACTIVE:g} of that of z given the image; their KL is {rates.sum():.3g} nats{since}",
                _REMEDY,
            )
        elif len(inactive):
            yield Finding(
                "inactive latents",
                f"{len(inactive)} of {z_mean.shape[1]}, counted from 0: {_listed(inactive)}; the others have "
                f"a KL of {np.delete(rates, inactive).sum():.3g} nats. A VAE leaves out what it does not "
                "need",
                "none is needed; a lower beta makes more of them active",
                is_fault=False,
            )
    elif since:
        yield Finding(
            "posterior collapse",
            f"the KL of all latents is {kl_loss.iloc[-1]:.3g} nats per image{since}",
            f"{_REMEDY}; if the KL was averaged over latents or pixels, that is the fault",
        )
    for part, series in (kl_parts or {}).items():
        if since_part := _since(series):
            yield Finding(
                "inactive latents",
                f"part {part} has a KL of {series.iloc[-1]:.3g} nats{since_part}",
                "none is needed unless these latents are wanted; then a lower beta makes them active",
                is_fault=False,
            )


@check("prior and codes", "z_mean z_log_var prior")
def prior_and_codes(z_mean, z_log_var, prior) -> Iterator[Finding]:
    """Compare mean and variance of each latent's codes, over all images, with those of N(0, 1)."""
    mean = z_mean.mean(axis=0, dtype=float)
    variance = z_mean.var(axis=0, dtype=float) + np.exp(z_log_var, dtype=float).mean(axis=0)
    distance = 0.5 * (mean**2 + variance - 1 - np.log(variance))
    far = np.flatnonzero(distance > FAR)
    if len(far):
        worst = int(distance.argmax())
        yield Finding(
            "prior and codes",
            f"the codes of {len(far)} of {len(mean)} latents are not where N(0, 1) is: {_listed(far)} "
            f"(counted from 0); those of latent {worst} have mean {mean[worst]:.3g} and variance "
            f"{variance[worst]:.3g}, {distance[worst]:.3g} nats away, so images decoded from draws of N(0, "
            "1) are not like the data",
            "train longer, or with a higher beta (that of the ELBO is 1); or fit a prior to the codes, such "
            "as a mixture, and draw from that",
        )


def _inactive(z_mean: np.ndarray, z_log_var: np.ndarray) -> np.ndarray:
    """Return the numbers of the latents that say nothing about the image."""
    return np.flatnonzero(z_mean.var(axis=0) < INACTIVE * np.exp(z_log_var).mean(axis=0))


def _since(kl_loss) -> str:
    """Return since which epoch the KL has been near 0, as the end of a sentence; "" if it is not."""
    if kl_loss is None or abs(kl_loss.iloc[-1]) >= COLLAPSED_KL:
        return ""
    above = np.flatnonzero(kl_loss.abs() >= COLLAPSED_KL)
    first = kl_loss.index[above[-1] + 1 if len(above) else 0]
    return f"; below {COLLAPSED_KL} since epoch {first}"


def _listed(numbers: np.ndarray) -> str:
    shown = ", ".join(map(str, numbers[:20]))
    return f"{shown}, ..." if len(numbers) > 20 else shown
