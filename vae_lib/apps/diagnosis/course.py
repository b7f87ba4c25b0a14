"""Checks of the course of a training: NaN, overfitting, a learning rate too high, unfinished annealing."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from vae_lib.apps.diagnosis.findings import Finding, check
from vae_lib.apps.diagnosis.history import finite_start
from vae_lib.apps.diagnosis.kl_weight import kl_weights

# Of the 188 committed runs, the loss of 187 never rises by more than 1.5 % in an epoch, nor by more than 13 %
# of all that it fell; the held-out loss ends at most 0.003 % above its best.
JUMP, OF_THE_FALL = 0.01, 0.25
BLOW_UP = 100  # times the median: no loss starts there
OVERFITTED, NOISE = 0.01, 2  # share of the best held-out loss; times the usual turn from epoch to epoch
LAST = 3  # epochs that must agree
_LOWER = "lower the learning rate (Adam: 1e-3 or less), warm it up, or clip the norm of the gradient"


@check("NaN", "raw_history", "raw_arrays", "diverged")
def not_finite(raw_history, raw_arrays, diverged) -> Iterator[Finding]:
    """Look for NaN and infinity, and for where they began."""
    stops = {name: series.index[len(start)] for name, series in (raw_history or {}).items()
             if len(start := finite_start(series)) < len(series)}  # fmt: skip
    if stops:
        epoch = min(stops.values())
        columns = [raw_history[name].attrs["column"] for name, at in stops.items() if at == epoch]
        yield Finding(
            "NaN",
            f"it began in epoch {epoch}, in {', '.join(columns)}{_before(raw_history, epoch)}",
            f"{_LOWER}; bound z_log_var softly, since exp(z_log_var) overflows; take logarithms with "
            "from_logits=True, or of values kept above 0",
        )
    elif diverged is not None:
        yield Finding("NaN", f"the loss was not finite in epoch {diverged}", _LOWER)
    for name, array in _in_order(raw_arrays or {}):
        finite = np.isfinite(array).reshape(len(array), -1)
        if not finite.all():
            rows = np.flatnonzero(~finite.all(axis=1))
            data = name == "x"
            yield Finding(
                "NaN",
                f"{np.size(finite) - finite.sum():,} of {np.size(finite):,} values of {name} are NaN or "
                f"infinite, in {len(rows):,} of {len(array):,} images, the first of them number {rows[0]}"
                f"{'' if data else '; the arrays before it, from x to the reconstruction, are finite'}",
                "repair or remove these images" if data else f"{_LOWER}; go back to the last finite weights",
            )
            return


@check("overfitting", "loss val_loss", "reconstruction_loss val_reconstruction_loss")
def overfitting(loss, val_loss, reconstruction_loss, val_reconstruction_loss) -> Iterator[Finding]:
    """Look for a held-out loss that rises while that of the training falls."""
    if loss is None or val_loss is None:
        loss, val_loss = reconstruction_loss, val_reconstruction_loss
    best = val_loss.idxmin()
    after = val_loss[val_loss.index > best]
    train_best, train_last = loss[loss.index <= best], loss.iloc[-LAST:].median()
    if len(after) < LAST or train_best.empty:
        return
    rise = after.iloc[-LAST:].median() - val_loss[best]
    noise = NOISE * val_loss.diff().diff().abs().iloc[2:].median()  # none where it rises evenly
    if rise > max(OVERFITTED * abs(val_loss[best]), noise) and train_last < train_best.iloc[-1]:
        yield Finding(
            "overfitting",
            f"the held-out loss was best in epoch {best} ({val_loss[best]:.4g}) and has risen to "
            f"{val_loss.iloc[-1]:.4g}, while that of the training fell from {train_best.iloc[-1]:.4g} to "
            f"{loss.iloc[-1]:.4g}",
            f"keep the weights of epoch {best} (early stopping, best on validation); or use more images, a "
            "smaller model, or weight decay",
        )


@check("learning rate", "loss")
def learning_rate_too_high(
    loss, reconstruction_loss, kl_loss, beta_history, learning_rate
) -> Iterator[Finding]:
    """Look for a training loss that jumps, at a beta that stays."""
    loss = loss.loc[_same_beta(_betas(beta_history, loss, reconstruction_loss, kl_loss), loss.index)]
    if len(loss) < LAST:
        return
    rises, lowest = loss.diff().iloc[1:], float(loss.min())
    jumps = rises[(rises > JUMP * abs(lowest)) & (rises > OF_THE_FALL * (loss.iloc[0] - lowest))]
    rate = "" if learning_rate is None else f", at a learning rate of up to {learning_rate.max():.3g}"
    if len(jumps):
        worst = jumps.idxmax()
        yield Finding(
            "learning rate",
            f"the training loss jumped in {len(jumps)} of {len(loss)} epochs, most in epoch {worst}: by "
            f"{jumps.max():.4g} to {loss[worst]:.4g}, where the whole training brought it from "
            f"{loss.iloc[0]:.4g} to {lowest:.4g}{rate}",
            _LOWER,
        )
    elif loss.max() > BLOW_UP * loss.abs().median():
        yield Finding(
            "learning rate",
            f"the training loss was {loss.max():.3g} in epoch {loss.idxmax()}, and its median is "
            f"{loss.median():.3g}{rate}",
            _LOWER,
        )


@check("annealing", "beta_history", "loss reconstruction_loss kl_loss")
def annealing(beta_history, loss, reconstruction_loss, kl_loss, beta) -> Iterator[Finding]:
    """Look for a weight of the KL that still rises when the training ends."""
    betas = _betas(beta_history, loss, reconstruction_loss, kl_loss)
    if betas is None or len(betas) < LAST:
        return
    last = betas.iloc[-LAST:]
    rising = bool((last.diff().iloc[1:] > 0.005 * last.abs().max()).all())
    if rising:
        target = "" if beta is None else f" of {beta:g} to come"
        yield Finding(
            "annealing",
            f"the weight of the KL still rises when the training ends: {', '.join(f'{b:.4g}' for b in last)} "
            f"in the last {LAST} epochs{target}; the model was never trained at its final beta",
            "let it reach its final value well before the end, such as after a third of the epochs",
        )
    elif beta and betas.iloc[-1] < 0.99 * beta and betas.iloc[-1] > 1.05 * betas.iloc[0]:
        yield Finding(
            "annealing",
            f"the weight of the KL ends at {betas.iloc[-1]:.4g}, and not at {beta:g}",
            "give the annealing fewer steps, or the training more",
        )


def _betas(beta_history, loss, reconstruction_loss, kl_loss) -> pd.Series | None:
    """Return the weight of the KL in each epoch: as it was logged, or as the loss tells it."""
    return beta_history if beta_history is not None else kl_weights(loss, reconstruction_loss, kl_loss)


def _same_beta(betas: pd.Series | None, epochs: pd.Index) -> pd.Index:
    """Return the epochs, up to the last, in which the weight of the KL was that of the last."""
    if betas is None:
        return epochs
    changed = betas.index[abs(betas - betas.iloc[-1]) > 0.02 * abs(betas.iloc[-1])]
    return epochs[epochs > changed[-1]] if len(changed) else epochs


def _before(history: Mapping[str, pd.Series], epoch: int) -> str:
    """Return the last finite values of the losses, as a part of a sentence."""
    before = {s.attrs["column"]: s[s.index < epoch] for n, s in history.items() if "loss" in n}
    values = [
        f"{column} {s.iloc[-1]:.4g}" for column, s in before.items() if len(s) and np.isfinite(s.iloc[-1])
    ]
    return f"; the epoch before had {', '.join(values)}" if values else ""


def _in_order(arrays: Mapping[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    return [(name, arrays[name]) for name in ("x", "z_mean", "z_log_var", "reconstruction") if name in arrays]
