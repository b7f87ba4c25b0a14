"""The weights with which a reported loss adds its two terms: the beta that was really set."""

from typing import NamedTuple

import numpy as np
import pandas as pd

ROUNDING = 1e-5  # of a history's values, relative: float32, or six digits


class LossWeights(NamedTuple):
    """The loss is `of_reconstruction` x the reconstruction loss + `of_kl` x the KL.

    `steady`: in all epochs, so there was no annealing.
    """

    of_reconstruction: float
    of_kl: float
    steady: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether the reconstruction loss is added as it is."""
        return self.of_reconstruction == 1

    @property
    def ratio(self) -> float:
        """The beta of the terms as they were reported."""
        return self.of_kl / self.of_reconstruction


def kl_weights(loss, reconstruction_loss, kl_loss) -> pd.Series | None:
    """Return (loss - reconstruction) / KL of the epochs in which rounding leaves two digits of it, if any."""
    if loss is None or reconstruction_loss is None or kl_loss is None:
        return None
    table = pd.concat(
        [loss, reconstruction_loss, kl_loss], axis=1, join="inner", keys=["loss", "pixels", "kl"]
    )
    rest = table["loss"] - table["pixels"]
    clear = (rest.abs() > 100 * ROUNDING * table[["loss", "pixels"]].abs().max(axis=1)) & (table["kl"] != 0)
    return (rest / table["kl"])[clear] if clear.any() else None


def loss_weights(loss, reconstruction_loss, kl_loss) -> LossWeights | None:
    """Return the weights of the last epoch, or None if the columns do not tell them."""
    series = kl_weights(loss, reconstruction_loss, kl_loss)
    if series is None:
        return None
    steady = np.ptp(series) <= 0.02 * abs(series.iloc[-1])
    if not steady and len(series) >= 4 and (weights := _fitted(loss, reconstruction_loss, kl_loss)):
        return weights
    return LossWeights(1.0, float(series.iloc[-1]), bool(steady))


def _fitted(loss, reconstruction_loss, kl_loss) -> LossWeights | None:
    """Return weights that give the loss of every epoch to its rounding, such as those of w x MSE + KL."""
    table = pd.concat([reconstruction_loss, kl_loss, loss], axis=1, join="inner").to_numpy()
    weights, *_ = np.linalg.lstsq(table[:, :2], table[:, 2], rcond=None)
    error = np.abs(table[:, :2] @ weights - table[:, 2]).max()
    exact = error <= 10 * ROUNDING * np.abs(table[:, 2]).max() and weights[0] > 0
    return LossWeights(*map(float, weights)) if exact else None
