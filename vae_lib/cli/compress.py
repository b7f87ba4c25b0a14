"""`vae_lib compress`: images as one small file, by a run's model."""

from pathlib import Path

import vae_lib as vl
from vae_lib.cli.inputs import find_run
from vae_lib.cli.parser import add_command, option, path


def add(commands) -> None:
    """Add the command to the program's."""
    text = "compress a folder of images without loss, to as many bits as the run's score says"
    changes = {
        "data": option(
            "folder of images of the run's size and colour", None, "FOLDER", type=path, required=True
        ),
        "out": {"help": "new file to write [images/RUN/images.vae]", "metavar": "FILE"},
    }
    add_command(commands, compress, text, "run", "data", "out", **changes)


def compress(options) -> int:
    """Run the command; return its exit code."""
    run, data = find_run(options), options.data
    out = options.out or Path("images") / run.name / "images.vae"
    x, names, before = vl.apps.read_images(data, tuple(run.data["image_shape"]))
    vl.start_tensorflow(threads=1)  # more would add numbers up in another order, on another machine
    size = vl.apps.compress(run, x, out, names)
    model = (run.directory / "model.keras").stat().st_size
    print(
        f"{len(x):,} images: {out}, {size:,} bytes, {8 * size / x.size:.3f} bits/dim "
        f"(their own files: {before:,}; the model, which decompressing needs: {model:,})"
    )
    return 0
