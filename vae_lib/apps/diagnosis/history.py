"""Histories of any framework: their columns under one set of names, each a series over epochs."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from vae_lib.utils.errors import InputError

NAMES = {
    "loss": "loss total_loss vae_loss elbo_loss neg_elbo negative_elbo nelbo elbo",
    "reconstruction_loss": "reconstruction_loss recon_loss recons_loss rec_loss reconst_loss reconstruction "
    "recon recons rec distortion nll nll_loss bce bce_loss binary_crossentropy xent xent_loss cross_entropy "
    "mse mse_loss l1 l1_loss mae",
    "kl_loss": "kl_loss kl kld kld_loss kl_div kl_divergence kldiv rate latent_loss d_kl dkl kl_term",
    "beta_history": "beta kl_weight kld_weight kl_coef kl_coeff kl_beta beta_kl anneal annealing kl_anneal",
    "learning_rate": "learning_rate lr",
    "epoch": "epoch epochs",
}
NOT_LOGGED = ("", "na", "n/a", "none", "null", "-")  # cells; Keras' CSVLogger writes NA
KINDS = {"bce": "bce|xent|cross_?entropy", "mse": "mse|l2", "l1": "l1|mae"}  # said by a column's name

_MEANING = {alias: name for name, aliases in NAMES.items() for alias in aliases.split()}
_TRAIN, _HELD_OUT = "train|training", "val|valid|validation|test|eval|dev"
History = dict[str, pd.Series]


def read_history(source: Path | str | Mapping | pd.DataFrame) -> History:
    """Return what is known of the columns: series over epochs, held-out ones with `val_` before their names.

    Args:
        source: A CSV file, whose blank or NA cells are values that were not logged; or columns by name, such
            as Keras' `History.history`.

    Returns:
        Name, as in `NAMES`, -> values; parts of the KL as `kl_loss:PART`. The attribute `column` of a series
        is the name that its column had.

    Raises:
        InputError: If the file cannot be read, no column is known, or a value is no number.
    """
    where, columns = _read_csv(Path(source)) if isinstance(source, str | Path) else ("history", source)
    columns = {name: list(values) for name, values in columns.items()}
    known = {column: name for column in columns if (name := _meaning(str(column)))}
    if not known.keys() - {column for column, name in known.items() if name in ("epoch", "learning_rate")}:
        examples = ", ".join(aliases.split()[0] for aliases in list(NAMES.values())[:3])
        raise InputError(
            f"{where}: no column of a known name among {list(columns)[:12]}: call them {examples}, beta, "
            "those of held-out images with val_ before; other usual names, such as recon_loss, kld, are "
            "known too"
        )
    epochs = next((columns[column] for column, name in known.items() if name == "epoch"), None)
    history: History = {}
    for column, name in known.items():
        if name != "epoch" and name not in history:
            series = _series(columns[column], epochs, f"{where}: column {column!r}")
            if re.search("(^|_)elbo$", str(column).lower()) and (series < 0).all():
                series = -series  # a bound, and not its negative
            if len(series):
                history[name] = series
                series.attrs["column"] = str(column)
    if not history:
        raise InputError(
            f"{where}: no values in the columns {', '.join(map(str, known))}: give a row an epoch"
        )
    return history


def kind_of(history: History) -> str | None:
    """Return what the reconstruction loss is by the name of its column: `bce`, `mse` or `l1`, if it says."""
    column = getattr(history.get("reconstruction_loss"), "attrs", {}).get("column", "").lower()
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, column)), None)


def finite_start(series: pd.Series) -> pd.Series:
    """Return the values before the first that is NaN or infinite."""
    finite = np.isfinite(series)
    return series if finite.all() else series[: int(np.argmin(finite))]


def _meaning(column: str) -> str | None:
    """Return the name for a column, or None if it is not known or counts steps."""
    words = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_").removesuffix("_epoch")
    held_out = re.search(f"^({_HELD_OUT})_|_({_HELD_OUT})$", words)
    words = re.sub(f"^({_TRAIN}|{_HELD_OUT})_|_({_TRAIN}|{_HELD_OUT})$", "", words)
    base, _, part = words.partition("_")
    meaning = _MEANING.get(words)
    if meaning is None and part and part[0].isdigit() and _MEANING.get(base) == "kl_loss":
        meaning = f"kl_loss:{part}"
    if meaning in ("epoch", "learning_rate", "beta_history"):
        return meaning
    return f"val_{meaning}" if meaning and held_out else meaning


def _read_csv(path: Path) -> tuple[str, pd.DataFrame]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline()
        separator = max(",;\t", key=first.count)
        table = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True
        )
        if table.empty:
            raise ValueError("no rows below the names of the columns")
        return repr(str(path)), table
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{str(path)!r}: cannot be read: {reason}; give a CSV with a row an epoch") from None


def _series(values: list, epochs: list | None, where: str) -> pd.Series:
    """Return the values that were logged, the last of each epoch; epochs without numbers count from 1."""
    logged = [i for i, value in enumerate(values) if str(value).strip().lower() not in NOT_LOGGED]
    try:
        numbers = [float(values[i]) for i in logged]
        index = [i + 1 if epochs is None else int(float(epochs[i])) for i in logged]
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{where}: {error}; give numbers, one an epoch") from None
    series = pd.Series(numbers, index=pd.Index(index, name="epoch"), dtype=float)
    return series[~series.index.duplicated(keep="last")]
