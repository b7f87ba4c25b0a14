"""`vae_lib encode`: write the codes of all images of a run, or of new ones."""

from pathlib import Path

import vae_lib as vl
from vae_lib.cli.inputs import MOVED, find_run, images_of, new_images
from vae_lib.cli.parser import add_command, flag
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import ensure_writable


def add(commands) -> None:
    """Add the command to the program's."""
    text = "write the codes of all images, z_mean and z_log_var, to codes.npz and codes.csv"
    changes = {
        "data": {"help": f"{MOVED['help']}; with --new, the images to encode"},
        "new": flag("encode other images, those of --data, as `score` takes them"),
        "out": {"help": "folder for codes.npz and codes.csv [images/RUN, with --new images/RUN/new]"},
    }
    add_command(commands, encode, text, "run", "data", "new", "skip_bad", "out", **changes)


def encode(options) -> int:
    """Run the command; return its exit code."""
    if options.new:
        return _encode_new(options)
    run = find_run(options)
    try:
        data = images_of(run, options)
    except InputError as error:
        raise InputError(
            f"{error}; with --new, other images are encoded" if options.data else error
        ) from None
    vl.start_tensorflow()
    out = options.out or Path("images") / run.name
    counts = vl.evaluation.write_codes(run, data, out)
    print(f"codes of {counts} images of {data.source}: {out / 'codes.npz'} and codes.csv")
    return 0


def _encode_new(options) -> int:
    if options.data is None:
        raise InputError("--new needs --data PATH: the images to encode")
    run = find_run(options)
    out = options.out or Path("images") / run.name / "new"
    images = new_images(run, options)
    ensure_writable(out)
    vl.start_tensorflow()
    vl.evaluation.write_new_codes(run, images, out)
    print(f"codes: {out / 'codes.npz'} and codes.csv")
    return 0
