"""`vae_lib export`: write encoder and decoder for other programs."""

import vae_lib as vl
from vae_lib.cli.inputs import MOVED, run_and_images
from vae_lib.cli.parser import add_command


def add(commands) -> None:
    """Add the command to the program's."""
    text = (
        "write encoder and decoder as files for other programs, each checked against the model on test images"
    )
    out = {"help": "folder for the files [images/RUN/export]"}
    add_command(commands, export, text, "run", "format", "data", "skip_bad", "out", data=MOVED, out=out)


def export(options) -> int:
    """Run the command; return its exit code."""
    run, data, out = run_and_images(options)
    out = options.out or out / "export"
    x, y = data.images_and_labels("test")
    for name, difference in vl.apps.export_model(run, out, options.format, x, y).items():
        unit = "grey levels" if name.startswith("decoder") else "in z"
        print(f"{out / name}: differs from the model by at most {difference:.2g} {unit}")
    return 0
