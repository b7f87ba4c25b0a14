"""The one place that writes figures and animations: same picture, same bytes, and no half-written file."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from vae_lib.plots.style import figure_style
from vae_lib.utils.files import atomic_write, write_together

_PASSES, _DECIMALS = 4, 6  # of the layout: each leaves a thousandth of the movement; then it is rounded
_MARGIN = 0.08  # inches
_ENLARGE, _MILLISECONDS = 4, 100  # of an animation: pixels for each of a frame's, and time of a frame
_FIELDS = {"png": {"Software": "vae_lib"}, "svg": {"Creator": "vae_lib", "Date": None}}


@figure_style()
def save_figure(
    figure: Figure,
    name: str,
    *,
    directory: str | Path = "images",
    metadata: Mapping[str, object] | None = None,
    dpi: int = 200,
) -> list[Path]:
    """Write a figure as PNG and SVG: the same figure gives the same bytes, and both files appear or none.

    Args:
        figure: The figure; it stays as it is.
        name: File name without its ending, such as "03_rate_distortion".
        directory: Where to write; made if missing.
        metadata: What the figure shows, such as source, seeds and runs. `source` goes into the field Source
            of both formats, all of it as JSON into the field Description.
        dpi: Pixels per inch of the PNG, and of what is rasterised in the SVG.

    Raises:
        ValueError: If the name could leave the directory.
        OSError: If writing fails; the previous files are then untouched.
    """
    fields = {"Title": _checked_name(name), "Description": _describe(metadata)}
    if metadata and "source" in metadata:
        fields["Source"] = str(metadata["source"])
    Path(directory).mkdir(parents=True, exist_ok=True)
    with _settled(figure):
        box = figure.get_tightbbox().padded(_MARGIN)
        save = partial(figure.savefig, dpi=dpi, bbox_inches=box, facecolor="white")
        writers = {
            Path(directory) / f"{name}.{kind}": partial(save, format=kind, metadata=fields | fixed)
            for kind, fixed in _FIELDS.items()
        }
        write_together(writers)
    return list(writers)


def save_animation(
    frames: np.ndarray,
    name: str,
    *,
    directory: str | Path = "images",
    metadata: Mapping[str, object] | None = None,
) -> Path:
    """Write frames as a GIF that repeats, four pixels wide for each of theirs; same frames, same bytes.

    Args:
        frames: uint8 images, shape (n, height, width, channels) with 1 (grey) or 3 (RGB) channels.
        name: File name without its ending.
        directory: Where to write; made if missing.
        metadata: What the frames show, as in `save_figure`; stored as JSON in the GIF's comment.

    Raises:
        ValueError: If the frames are not such images, or the name could leave the directory.
        OSError: If writing fails; the previous file is then untouched.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] not in (1, 3) or not len(frames):
        raise ValueError(
            f"frames are {frames.dtype} of shape {frames.shape}; give uint8 (n, height, width, 1 or 3)"
        )
    large = frames.repeat(_ENLARGE, axis=1).repeat(_ENLARGE, axis=2)
    first, *rest = [Image.fromarray(frame.squeeze()) for frame in large]
    path = Path(directory) / f"{_checked_name(name)}.gif"
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = {"duration": _MILLISECONDS, "loop": 0, "comment": _describe(metadata).encode()}
    atomic_write(path, lambda file: first.save(file, save_all=True, append_images=rest, **shown))
    return path


@contextmanager
def _settled(figure: Figure) -> Iterator[None]:
    """Lay the figure out until nothing moves, and hold it so: every save and format then shows the same."""
    engine = figure.get_layout_engine()
    if engine is not None:
        for _ in range(_PASSES):
            engine.execute(figure)
        figure.set_layout_engine("none")
        for ax in figure.axes:  # the solver's last bits depend on where its variables lie in memory
            in_layout, place = ax.get_in_layout(), ax.get_position(original=True)
            ax.set_position(Bbox(place.get_points().round(_DECIMALS)), which="original")
            ax.set_in_layout(in_layout)
    figure.draw_without_rendering()  # some labels find their place when drawn
    try:  # a figure without a layout engine would take that of the style while it is saved
        with mpl.rc_context({"figure.constrained_layout.use": False}):
            yield
    finally:
        if engine is not None:
            figure.set_layout_engine(engine)


def _describe(metadata: Mapping[str, object] | None) -> str:
    """Return the metadata as canonical JSON, with NumPy values as plain ones."""
    plain = {"default": lambda value: value.tolist() if hasattr(value, "tolist") else str(value)}
    return json.dumps(dict(metadata or {}), sort_keys=True, ensure_ascii=False, **plain)


def _checked_name(name: str) -> str:
    """Return the name, if it is a plain file name on every system."""
    if not re.fullmatch(r"[^\W_][\w.-]{0,99}", name):
        clean = re.sub(r"[^\w.-]+", "_", name).strip("._-")[:100] or "figure"
        raise ValueError(f"name is {name!r}; use letters, digits, '.', '_' and '-' only, as in {clean!r}")
    return name
