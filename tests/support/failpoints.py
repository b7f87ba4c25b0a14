"""A checkpoint's writer killed at every moment: `python -m tests.support.failpoints FOLDER` tries them all.

Moment n happens in `FOLDER/n`, where checkpoints 1 and 2 lie already and 3 is being written. A process of its
own, without TensorFlow, so that a fork is quick and safe.
"""

import itertools
import os
import shutil
import signal
import sys
import zipfile
from pathlib import Path

import numpy as np

from vae_lib.training import checkpoint as module
from vae_lib.training.checkpoint import Checkpoint
from vae_lib.utils import files

LINES = (module.__file__, files.__file__)


def checkpoint(step: int) -> Checkpoint:
    """Return a checkpoint of several pages, its content a function of its step."""
    arrays = {"weights/0": np.full(40_000, step, "float32"), "best/0": np.arange(step)}
    return Checkpoint(step, {"history": [{"loss": 0.1 * step}]}, arrays)


def save_and_die(folder: Path, fatal: int) -> None:
    """Save checkpoint 3; die at the `fatal`-th event: a line of ours, a call in zipfile, a file, a flush."""
    moments = itertools.count(1)

    def happen(event=None, arguments=None):
        if event != "object.__getattr__" and next(moments) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def trace(frame, event, argument):
        if frame.f_code.co_filename in (*LINES, zipfile.__file__):
            happen()
        return trace if frame.f_code.co_filename in LINES else None

    os.fsync = happen  # a killed process loses nothing that the kernel has: only the moment counts
    sys.addaudithook(happen)
    sys.settrace(trace)
    checkpoint(3).save(folder)


def main(folder: Path) -> None:
    """Kill at moment 1, 2, 3 and so on, until the writer comes to its end."""
    for step in (1, 2):
        checkpoint(step).save(folder / "0")
    for moment in itertools.count(1):
        place = folder / str(moment)
        shutil.copytree(folder / "0", place)
        child = os.fork()
        if not child:
            save_and_die(place, moment)
            os._exit(0)
        if not os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
