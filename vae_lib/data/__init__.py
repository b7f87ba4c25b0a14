"""Data sets by name and your own images, all as an `ImageDataset`."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["npz", "table", "pixel_range", "image_file", "image_folder", "sprites"],
    submod_attrs={
        "dataset": ["ImageDataset", "from_arrays", "title_of"],
        "image_list": ["ImageList", "load_image_list"],
        "loading": ["load_dataset", "load_or_stand_in", "known_name", "NAMES"],
        "download": ["UnavailableError"],
    },
)
