"""What an examination goes by: the history, arrays and settings of runs and files, under one set of names."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from vae_lib.apps.diagnosis.arrays import MEANING, read_arrays
from vae_lib.apps.diagnosis.history import finite_start, kind_of, read_history
from vae_lib.data.dataset import ImageDataset
from vae_lib.training.checkpoint import Checkpoint
from vae_lib.training.run import Run
from vae_lib.utils.errors import InputError

N_IMAGES = 1000  # test images of a run that are encoded

Source = Run | Path | str | Mapping | pd.DataFrame


def gather(sources, data: ImageDataset | None = None, **settings) -> dict:
    """Return the facts that are known of a training.

    Args:
        sources: Runs, histories and arrays, as `diagnose` takes them.
        data: The images of a run with weights; None leaves its arrays out.
        settings: `beta`, `batch_size`, `loss_kind`: what is known of the training; it goes before what a
            source says.

    Raises:
        InputError: If a source cannot be read, or two are of one kind.
    """
    facts: dict = {}
    for source in sources:
        new = _facts_of(source, data)
        kinds = {"raw_history": "histories", "raw_arrays": "sets of arrays"}
        twice = [kind for name, kind in kinds.items() if name in facts and name in new]
        if twice:
            raise InputError(f"received two {twice[0]}: give those of one training")
        facts |= new
    facts = {"prior": "N(0, I)"} | facts | {name: s for name, s in settings.items() if s is not None}
    return {name: value for name, value in facts.items() if value is not None}


def _facts_of(source: Source, data: ImageDataset | None) -> dict:
    source = getattr(source, "history", source) if type(source).__name__ == "History" else source  # of Keras
    if isinstance(source, Run):
        return _of_run(source, data)
    if isinstance(source, str | Path):
        path = Path(source)
        if os.path.isdir(path):
            return _of_run(Run(path), data)
        if not os.path.exists(path):
            raise InputError(f"there is no file {str(path)!r}: give a run's folder, a .csv or an .npz file")
        if path.suffix.lower() not in (".csv", ".tsv", ".txt", ".npz"):
            raise InputError(f"{str(path)!r}: give a run's folder, a history as .csv or arrays as .npz")
        return _of_arrays(path) if path.suffix.lower() == ".npz" else _of_history(path)
    if not isinstance(source, Mapping | pd.DataFrame):
        raise InputError(f"cannot examine {type(source).__name__}: give a run, a history, arrays or a path")
    is_arrays = any(str(name).lower() in MEANING and np.ndim(source[name]) > 1 for name in source)
    return _of_arrays(source) if is_arrays else _of_history(source)


def _of_history(source) -> dict:
    history = read_history(source)
    starts = {name: start for name, series in history.items() if len(start := finite_start(series))}
    parts = {name.partition(":")[2]: s for name, s in starts.items() if name.startswith("kl_loss:")}
    for name in ("loss", "reconstruction_loss", "kl_loss"):
        if name not in history and f"val_{name}" in starts:  # a history of held-out images alone
            starts[name] = starts[f"val_{name}"]
    return starts | {"raw_history": history, "kl_parts": parts or None, "loss_kind": kind_of(history)}


def _of_arrays(source) -> dict:
    arrays = read_arrays(source)
    finite = {name: array for name, array in arrays.items() if np.isfinite(array).all()}
    return finite | {"raw_arrays": arrays}


def _of_run(run: Run, data: ImageDataset | None) -> dict:
    """Return the facts of a run, whatever its state."""
    config = run.config
    settings = {
        "beta": config.beta,
        "batch_size": config.batch_size,
        "loss_kind": "bce" if config.likelihood == "bernoulli" else "other",
        "prior": "N(0, I)" if config.prior == "normal" else None,
    }
    diverged = run.metrics.get("epoch") if run.is_done and run.metrics["status"] == "diverged" else None
    facts = {"diverged": diverged}
    if os.path.exists(run.directory / "history.csv"):
        facts |= _of_history(run.history)
    elif kept := Checkpoint.load_latest(run.directory / "checkpoint"):  # unfinished, or diverged
        facts |= _of_history(pd.DataFrame(kept.state["history"])) if kept.state["history"] else {}
    if data is not None and (run.directory / "model.keras").exists():
        facts |= _of_arrays(_arrays_of(run, data))
    if config.network == "hierarchical":  # its codes are those of z_1, the history's KL that of all scales
        facts = {name: fact for name, fact in facts.items() if name not in ("kl_loss", "val_kl_loss")}
    return facts | settings


def _arrays_of(run: Run, data: ImageDataset) -> dict[str, np.ndarray]:
    """Return the test images of a run, with their reconstructions and codes."""
    vae = run.model()
    x, y = data.images_and_labels("test")
    x = vae.as_observed(np.asarray(x[:N_IMAGES]))
    y = y[:N_IMAGES] if run.config.conditional else None
    z_mean, z_log_var = vae.encode(x, y)
    reconstruction = vae.reconstruct(x, y)
    return {"x": x, "reconstruction": reconstruction, "z_mean": z_mean, "z_log_var": z_log_var}
