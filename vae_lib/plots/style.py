"""How the study's figures look: colours, fonts, and the small helpers that every kind of plot needs.

Everything is drawn under `figure_style()`, and `rcParams` stay as they were. pyplot does not keep the figures
made here, so none stays open and none is shown twice: end a notebook cell with `ax.figure`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Number
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

# Ten colours that stay apart under colour-blindness: Petroff 2021, arXiv:2107.02270.
COLORS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
GREY = "#6b6b6b"

_STYLE = mpl.rc_params_from_file(Path(__file__).with_name("figures.mplstyle"), use_default_template=False)
_STYLE["axes.prop_cycle"] = mpl.cycler(color=COLORS)


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw inside this context, or under it as a decorator, in the style of the study's figures."""
    with mpl.rc_context(_STYLE):
        yield


def palette(values: Sequence) -> dict:
    """Return value -> colour: an ordered scale for numbers (latent size, beta), clear contrasts for names."""
    if all(is_number(value) for value in values):
        colors = mpl.colormaps["viridis"](np.linspace(0.0, 0.82, len(values)))
    elif len(values) > len(COLORS):
        colors = mpl.colormaps["turbo"](np.linspace(0.03, 0.97, len(values)))
    else:
        colors = COLORS
    return {value: mpl.colors.to_hex(color) for value, color in zip(values, colors, strict=False)}


def is_number(value: object) -> bool:
    """Whether the value is a number; True and False are names."""
    return isinstance(value, Number) and not isinstance(value, bool)


def new_figure(width: float, height: float, **options) -> Figure:
    """Make a figure of this size in inches, closed at once: notebooks display it, pyplot does not keep it."""
    figure = plt.figure(figsize=(width, height), **options)
    plt.close(figure)
    return figure


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the Axes themselves, or those of a new figure of this size in inches."""
    return ax if ax is not None else new_figure(width, height).add_subplot()


def set_head(figure: Figure, title: str | None) -> None:
    """Write the figure's title, if it has one, at its left edge."""
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")


def halo() -> list[withStroke]:
    """Path effects of text that stays legible on top of lines and points."""
    return [withStroke(linewidth=2.5, foreground="white", alpha=0.85)]


def spread_apart(x: np.ndarray, y: np.ndarray, width: float, height: float) -> np.ndarray:
    """Move labels of this size up and down from (x, y) until no two overlap; returns the new y."""
    y, index = y.astype(float), np.arange(len(y))
    beside = (np.abs(np.subtract.outer(x, x)) < width) & ~np.eye(len(x), dtype=bool)
    for _ in range(300):
        gap = np.subtract.outer(y, y)
        up = np.where(gap == 0, np.sign(np.subtract.outer(index, index)), np.sign(gap))
        y += 0.2 * (np.clip(height - np.abs(gap), 0, None) * up * beside).sum(axis=1)
    return y
