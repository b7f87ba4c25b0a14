"""What commands are given: the run of a name or path, the images that it was trained on, and new images."""

import os
import warnings
from pathlib import Path

import vae_lib as vl
from vae_lib.config import TrainConfig
from vae_lib.data.pixel_range import scaling
from vae_lib.utils.errors import InputError

# The option --data of commands on a run, and that of commands on other images.
MOVED = {"help": "where the run's images are now, if they were moved"}
NEW = {
    "help": "the images: a folder, an image, an .npz, .npy or .csv file, or the name of a data set, whose "
    "test images are taken; those of another size or mode are converted",
    "required": True,
}


def run_and_images(options):
    """Start TensorFlow; return a run, the data set that it was trained on, and the folder to write."""
    run = find_run(options)
    data = images_of(run, options)
    vl.start_tensorflow()
    return run, data, options.out or Path("images") / run.name


def images_of(run, options, option: str = "data"):
    """Return the data set that a run was trained on; the option says where it is, if it was moved."""
    config, given = run.config, getattr(options, option)
    try:
        data = load_images(given or config.dataset, config, options)
    except InputError as error:
        moved = "" if given else f"; if the images of {run.name} were moved, --{option} PATH finds them"
        raise InputError(f"{error}{moved}") from None
    return run.own_images(data, f"--{option}")


def new_images(run, options):
    """Return the images of --data in the shape of those that a run was trained on, and say what they are."""
    name, shape = spelling(options.data, is_data=True), run.data["image_shape"]
    images = vl.data.load_image_list(name, shape, options.data_dir, options.skip_bad)
    print(f"{len(images.x):,} images: {images.source}", flush=True)
    here, there = (" and ".join(sorted(scaling(s))) for s in (images.source, run.data["source"]))
    if here != there:
        warnings.warn(
            f"pixels are read otherwise than in the training of {run.name} ({here or 'kept as they are'}; in "
            f"training, {there or 'kept as they were'}): give images of the same range",
            stacklevel=2,
        )
    return images


def dataset_name(options) -> str:
    """Return what to train on, in one spelling: it is part of the run's name."""
    return spelling(options.dataset if options.data is None else options.data, options.data is not None)


def spelling(given: str, is_data: bool) -> str:
    """Return the one spelling of a data set's name or path; of --data, an existing path goes before a name.

    That of a path is relative to the working directory if it lies inside, with `./` before one that is spelt
    like a known name.
    """
    path = os.path.abspath(os.path.expanduser(given))
    name = vl.data.known_name(given)
    if name and (not is_data or not os.path.exists(path)):
        return name
    inside = os.path.commonpath([path, os.getcwd()]) == os.getcwd() and os.path.exists(path)
    path = os.path.relpath(path) if inside else path if os.path.exists(path) else given
    return f"./{path}" if vl.data.known_name(path) else path


def load_images(dataset: str, config: TrainConfig, options):
    """Load a data set at the image size of a config."""
    settings = {"image_size": config.image_size, "skip_bad": options.skip_bad}
    return vl.load_dataset(dataset, options.data_dir, **settings)


def find_run(options, name: str | None = None):
    """Return the run of a path or name, by default of the option; another folder of the name is none."""
    name = name or options.run
    paths = options.models_dir / name, Path(name)
    found = [path for path in paths if os.path.isfile(path / "config.json")]
    return vl.load_run(found[0] if found else paths[len(Path(name).parts) > 1])
