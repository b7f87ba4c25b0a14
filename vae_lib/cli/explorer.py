"""`vae_lib explorer`: write a page in which the decoder runs in the browser."""

import vae_lib as vl
from vae_lib.cli.inputs import MOVED, run_and_images
from vae_lib.cli.parser import add_command


def add(commands) -> None:
    """Add the command to the program's."""
    text = (
        "write one HTML file that opens in a browser without a network: point into the latent plane, move "
        "latents, go from one test image to another, and see what the decoder makes of it"
    )
    out = {"help": "the file [images/RUN/explorer.html]"}
    add_command(commands, explorer, text, "run", "data", "skip_bad", "out", data=MOVED, out=out)


def explorer(options) -> int:
    """Run the command; return its exit code."""
    run, data, out = run_and_images(options)
    path = options.out or out / "explorer.html"
    vl.apps.write_explorer(run, path, data)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")
    return 0
