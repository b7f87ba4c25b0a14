"""`vae_lib reconstruct`: encode and decode images that the model never saw."""

from pathlib import Path

import vae_lib as vl
from vae_lib.cli.inputs import NEW, find_run, new_images
from vae_lib.cli.parser import add_command
from vae_lib.utils.files import ensure_writable


def add(commands) -> None:
    """Add the command to the program's."""
    text = "reconstruct images that the model never saw: a PNG file for each, a table of them and a figure"
    out = {"help": "folder for the images [images/RUN/reconstructions]"}
    names = ("run", "data", "num_samples", "skip_bad", "out")
    add_command(commands, reconstruct, text, *names, data=NEW, out=out)


def reconstruct(options) -> int:
    """Run the command; return its exit code."""
    run = find_run(options)
    out = options.out or Path("images") / run.name / "reconstructions"
    images = new_images(run, options)
    ensure_writable(out)
    vl.start_tensorflow()
    table = vl.evaluation.write_reconstructions(run, images, out, options.num_samples)
    print(f"{len(table):,} reconstructions, {table['psnr'].mean():.1f} dB on average: {out}")
    print(f"which is of which file: {out / 'reconstructions.csv'}")
    return 0
