"""`vae_lib decompress`: the images of a file that `compress` made."""

from pathlib import Path

import vae_lib as vl
from vae_lib.cli.inputs import find_run
from vae_lib.cli.parser import add_command, option, path


def add(commands) -> None:
    """Add the command to the program's."""
    text = "write the images of a file that `compress` made, pixel for pixel, as PNG files"
    changes = {
        "file": option("file that `compress` made", metavar=None, type=path),
        "run": {"help": "directory or name of the run that it was made with"},
        "out": {"help": "new or empty folder for the images [images/RUN/decompressed]", "metavar": "FOLDER"},
    }
    add_command(commands, decompress, text, "file", "run", "out", **changes)


def decompress(options) -> int:
    """Run the command; return its exit code."""
    run = find_run(options)
    out = options.out or Path("images") / run.name / "decompressed"
    vl.apps.ensure_empty(out)
    vl.start_tensorflow(threads=1)  # as `compress` does
    x, names = vl.apps.decompress(options.file, run)
    vl.apps.write_images(x, names, out)
    print(f"{len(x):,} images: {out}")
    return 0
