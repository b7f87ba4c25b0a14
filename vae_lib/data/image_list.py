"""ImageList: images that a trained model never saw, in the shape of those that it was trained on."""

import os
from dataclasses import dataclass

import numpy as np

from vae_lib.data.image_file import has_image, to_shape
from vae_lib.data.image_folder import load_files
from vae_lib.data.loading import READERS, expanded, known_name, load_dataset, shown, unknown_data
from vae_lib.data.npz import checked

_KINDS = {1: "grey", 2: "grey with transparency", 3: "colour", 4: "colour with transparency"}  # by channels


@dataclass(frozen=True)
class ImageList:
    """Images without parts or classes.

    Attributes:
        x: Images, uint8 (n, height, width, channels).
        names: The name of each: the relative path of its file, or its place in an array, as in `x_test[3]`.
        source: Where the pixels came from, and how they were converted.
    """

    x: np.ndarray
    names: tuple[str, ...]
    source: str


def load_image_list(
    name_or_path: str | os.PathLike,
    image_shape: tuple[int, int, int],
    data_dir: str | os.PathLike = "data",
    skip_bad: bool = False,
) -> ImageList:
    """Load images for a trained model: all of a folder or a file, or the test images of a data set's name.

    Images of another size are cropped and resized, those of other channels converted, as `image_file` says.

    Args:
        name_or_path: A folder of images, an image, an .npz, .npy or .csv file, or a name for `load_dataset`.
        image_shape: (height, width, channels) of the images that the model takes.
        data_dir: As of `load_dataset`.
        skip_bad: Leave out the files of a folder that cannot be read.

    Returns:
        The images in the order of their paths, or of the arrays; nothing is shuffled or held out.

    Raises:
        InputError: If there are no such images, they cannot be read, or the model's have transparency and
            these have not.
    """
    path, size, resized = expanded(name_or_path), tuple(image_shape[:2]), None
    if known_name(name_or_path):
        data = load_dataset(name_or_path, data_dir, skip_bad=skip_bad)
        x, source = data.x_test, f"test images of {data.source}"
        names = _places("x_test", x) if data.files_test is None else data.files_test.tolist()
    elif path.suffix.lower() in READERS and path.is_file():
        arrays, note = checked(READERS[path.suffix.lower()](path), repr(str(path)))
        images = {key: arrays[key] for key in ("x_train", "x_test") if key in arrays}
        x, source = np.concatenate(list(images.values())), f"file {shown(path)}{note}"
        names = [name for key, part in images.items() for name in _places(key, part)]
    elif str(name_or_path) and (path.is_dir() or (path.is_file() and has_image(path))):
        x, names, notes, resized = load_files(path, expanded(data_dir) / ".cache", size, skip_bad)
        source = f"{'image folder' if path.is_dir() else 'image'} {shown(path)}{notes}"
    else:
        raise unknown_data(name_or_path, path)
    if resized is None:
        resized = len(x) if x.shape[1:3] != size else 0
    if resized:
        many = f"{resized:,} of {len(x):,} images " if resized < len(x) else ""
        source += f", {many}resized to {size[0]}x{size[1]}"
    if x.shape[3] != image_shape[2]:
        source += f", {_KINDS[x.shape[3]]} converted to {_KINDS[image_shape[2]]}"
    if x.shape[1:] != tuple(image_shape):
        x = np.stack([to_shape(image, tuple(image_shape)) for image in x])
    return ImageList(x, tuple(names), source)


def _places(key: str, x: np.ndarray) -> list[str]:
    return [f"{key}[{i}]" for i in range(len(x))]
