"""diagnose(...): all checks of what is known of a training."""

import inspect
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from vae_lib.apps.diagnosis import codes, course, losses, pixels
from vae_lib.apps.diagnosis.facts import gather
from vae_lib.apps.diagnosis.findings import Diagnosis
from vae_lib.config import TrainConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.training.run import Run
from vae_lib.utils.errors import InputError

CHECKS = (  # causes before what they bring about
    pixels.data_range,
    losses.kl_sign,
    course.not_finite,
    pixels.sigmoid_twice,
    pixels.no_sigmoid,
    pixels.logits,
    losses.kl_formula,
    losses.true_beta,
    course.annealing,
    course.learning_rate_too_high,
    course.overfitting,
    codes.posterior_collapse,
    codes.prior_and_codes,
    losses.grey_cross_entropy,
)
LOSSES = ("bce", "mse", "l1", "other")


def diagnose(
    *sources: Run | Path | str | Mapping | pd.DataFrame,
    data: ImageDataset | None = None,
    beta: float | None = None,
    batch_size: int | None = None,
    loss: str | None = None,
    learned_prior: bool = False,
) -> Diagnosis:
    """Name what is wrong with the training of a VAE, of this library or of any other framework.

    Each check is made where what it needs is known: a history and arrays together tell more than either. The
    arrays should be of the images that the history's last row is of.

    Args:
        sources: Of one training: a run or its folder; a history, as a .csv file, a DataFrame, a dict of lists
            or Keras' History, its columns under any usual name; arrays, as an .npz file or a dict: `x`,
            `reconstruction` as the decoder gives it, `z_mean`, `z_log_var`, each with a row an image.
        data: The images of a run: where it has its weights, its test images are encoded and checked too.
        beta: The weight of the KL that was set, 1 unless a source says otherwise.
        batch_size: Images of a batch, by which a loss that was summed over batches is known.
        loss: The reconstruction loss, `bce`, `mse`, `l1` or `other`; None finds it out.
        learned_prior: Whether p(z) is not N(0, I), which the checks of KL and codes assume.

    Raises:
        InputError: If a source cannot be read, or an option has a value that is not allowed.
    """
    if not sources:
        raise InputError("nothing to examine: give a run, a history or arrays")
    if loss is not None and loss not in LOSSES:
        raise InputError(f"loss must be one of {', '.join(LOSSES)}; received {loss!r}")
    for name, value in (("beta", beta), ("batch_size", batch_size)):
        if value is not None:
            TrainConfig.check(name, value)
    facts = gather(sources, data, beta=beta, batch_size=batch_size, loss_kind=loss)
    if learned_prior:
        facts.pop("prior", None)
    findings, checked, not_checked = [], [], {}
    for check in CHECKS:
        if any(facts.keys() >= set(names) for names in check.needs):
            arguments = {name: facts.get(name) for name in inspect.signature(check).parameters}
            with np.errstate(all="ignore"):  # codes of a training that ran away overflow
                findings += check(**arguments)
            checked.append(check.check_name)
        else:
            not_checked[check.check_name] = _missing(check.needs, facts)
    findings.sort(key=lambda finding: not finding.is_fault)
    return Diagnosis(findings, checked, not_checked)


def _missing(needs: tuple[tuple[str, ...], ...], facts: dict) -> str:
    """Return what is missing for a check, of the alternative that lacks least."""
    lacking = min(([name for name in names if name not in facts] for names in needs), key=len)
    words = {"prior": "a prior N(0, I)", "loss_kind": "the kind of loss"}
    given = facts.get("raw_history", {}).keys() | facts.get("raw_arrays", {}).keys()
    return ", ".join(f"finite {name}" if name in given else words.get(name, name) for name in lacking)
