"""What commands are given: the run of a name or path, and the images that it was trained on."""

import os
from pathlib import Path

import vae_lib as vl
from vae_lib.config import TrainConfig
from vae_lib.utils.errors import InputError

# The option --data of commands on a run.
MOVED = {"help": "where the run's images are now, if they were moved"}


def run_and_images(options):
    """Start TensorFlow; return a run, the data set that it was trained on, and the folder to write."""
    run = find_run(options)
    data = images_of(run, options)
    vl.start_tensorflow()
    return run, data, options.out or Path("images") / run.name


def images_of(run, options):
    """Return the data set that a run was trained on."""
    config = run.config
    try:
        data = load_images(options.data or config.dataset, config, options)
    except InputError as error:
        moved = "" if options.data else f"; if the images of {run.name} were moved, --data PATH finds them"
        raise InputError(f"{error}{moved}") from None
    run.check_data(data)
    return data


def dataset_name(options) -> str:
    """Return what to train on, in one spelling: it is part of the run's name.

    That of a path is relative to the working directory if it lies inside, with `./` before one that is spelt
    like a known name.
    """
    given = options.dataset if options.data is None else options.data
    path = os.path.abspath(os.path.expanduser(given))
    name = vl.data.known_name(given)
    if name and (options.data is None or not os.path.exists(path)):
        return name
    inside = os.path.commonpath([path, os.getcwd()]) == os.getcwd() and os.path.exists(path)
    path = os.path.relpath(path) if inside else path if os.path.exists(path) else given
    return f"./{path}" if vl.data.known_name(path) else path


def load_images(dataset: str, config: TrainConfig, options):
    """Load a data set at the image size of a config."""
    settings = {"image_size": config.image_size, "skip_bad": options.skip_bad}
    return vl.load_dataset(dataset, options.data_dir, **settings)


def find_run(options):
    """Return the run of that path or name; another folder of the name is none."""
    paths = options.models_dir / options.run, Path(options.run)
    found = [path for path in paths if os.path.isfile(path / "config.json")]
    return vl.load_run(found[0] if found else paths[len(Path(options.run).parts) > 1])
