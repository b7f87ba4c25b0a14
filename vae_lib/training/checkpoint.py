"""Checkpoint: the whole state of an unfinished run, written so that no kill can damage it.

A checkpoint is a folder `step-00000123/` holding `arrays.npz`, `state.json` and `manifest.json` (the
sha256 of the other two). It is built under a temporary name and renamed, so a folder with that name is
complete; the last two are kept, so a damaged disk block costs one checkpoint and not the run.
"""

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_lib.utils.files import name_file_in_errors, sha256_of, sync

KEEP = 2
_FILES = ("arrays.npz", "state.json")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A moment of training.

    Attributes:
        step: Gradient steps taken so far.
        state: JSON-able: history, seconds, threads, whether a callback has stopped the run.
        arrays: Named arrays: weights, optimizer, running sums of the epoch, best weights.
    """

    step: int
    state: dict
    arrays: dict[str, np.ndarray]

    def save(self, folder: Path) -> None:
        """Write this checkpoint into `folder` and remove all but the last two.

        Raises:
            OSError: If the disk is full; earlier checkpoints are then untouched.
        """
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"step-{self.step:08d}"
        temporary = folder / ".writing"  # one name: what a killed process left is overwritten
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            with name_file_in_errors(target):
                temporary.mkdir()
                np.savez(temporary / "arrays.npz", **self.arrays)
                state, manifest = temporary / "state.json", temporary / "manifest.json"
                state.write_text(json.dumps({"step": self.step, **self.state}))
                manifest.write_text(json.dumps({name: sha256_of(temporary / name) for name in _FILES}))
                for path in [*temporary.iterdir(), temporary]:
                    sync(path)
                if target.exists():  # a damaged one of the same step
                    shutil.rmtree(target)
                os.rename(temporary, target)
                sync(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        for old in _folders(folder)[KEEP:]:
            shutil.rmtree(old)

    @classmethod
    def load_latest(cls, folder: Path) -> "Checkpoint | None":
        """Return the newest intact checkpoint, or None; damaged ones are skipped with a warning."""
        for path in _folders(folder):
            try:
                return cls._load(path)
            except (OSError, ValueError, KeyError) as error:
                message = "checkpoint %s is damaged (%s): falling back to the one before"
                _logger.warning(message, path.name, error)
        return None

    @classmethod
    def _load(cls, path: Path) -> "Checkpoint":
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        for name in _FILES:
            if manifest[name] != sha256_of(path / name):
                raise ValueError(f"{name} does not match its sha256")
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        with np.load(path / "arrays.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return cls(state.pop("step"), state, arrays)


def latest_step(folder: Path) -> int:
    """Return the gradient steps at the newest checkpoint, or 0."""
    return max((int(path.name[5:]) for path in _folders(folder)), default=0)


def _folders(folder: Path) -> list[Path]:
    """Return the checkpoint folders, newest first."""
    return sorted((path for path in folder.glob("step-*") if path.name[5:].isdigit()), reverse=True)
