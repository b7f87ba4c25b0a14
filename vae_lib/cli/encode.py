"""`vae_lib encode`: write the codes of all images."""

import vae_lib as vl
from vae_lib.cli.inputs import MOVED, run_and_images
from vae_lib.cli.parser import add_command


def add(commands) -> None:
    """Add the command to the program's."""
    text = "write the codes of all images, z_mean and z_log_var, to codes.npz and codes.csv"
    out = {"help": "folder for codes.npz and codes.csv [images/RUN]"}
    add_command(commands, encode, text, "run", "data", "skip_bad", "out", data=MOVED, out=out)


def encode(options) -> int:
    """Run the command; return its exit code."""
    run, data, out = run_and_images(options)
    counts = vl.evaluation.write_codes(run, data, out)
    print(f"codes of {counts} images of {data.source}: {out / 'codes.npz'} and codes.csv")
    return 0
