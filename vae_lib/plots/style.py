"""How the study's figures look: colours, fonts, and the small helpers that every kind of plot needs.

Everything is drawn under `figure_style()`, and `rcParams` stay as they were. pyplot does not keep the figures
made here, so none stays open and none is shown twice: end a notebook cell with `ax.figure`.
"""

import functools
import logging
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Number
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
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


def drawable(names: Sequence[str], instead: str = "class {}") -> list[str]:
    """Return names as the figure in the making can show them; call it inside of `figure_style()`.

    Where the style's font lacks a letter, text made from here to the end of the style also uses a font of the
    system that has it. A name that no font can show is numbered, which a warning says once.

    Args:
        names: Of classes, say.
        instead: What stands for a name that cannot be shown; its index is filled in.
    """
    names, families = [str(name) for name in names], mpl.rcParams["font.family"]
    lacking = frozenset("".join(names)) - _letters_of(tuple(families))
    fonts, unknown = _fonts_with(lacking) if lacking else ((), lacking)
    mpl.rcParams["font.family"] = [*families, *(font for font in fonts if font not in families)]
    return [instead.format(i) if unknown & set(name) else name for i, name in enumerate(names)]


def drawable_title(title: str | None) -> str | None:
    """Return a title as `drawable` would, with a question mark for each letter that cannot be shown."""
    return title and "".join(drawable(title, "?"))


@functools.cache
def _letters_of(families: tuple[str, ...]) -> frozenset[str]:
    """Return the letters that the fonts of these families have, and spaces and line ends."""
    files = [font_manager.findfont(font_manager.FontProperties(family=[family])) for family in families]
    return frozenset(" \n\t").union(*(_letters_in(file) for file in files))


def _letters_in(file) -> set[str]:
    return {chr(code) for code in font_manager.get_font(file).get_charmap()}


@functools.cache
def _fonts_with(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return families of the system's fonts that have these letters, as few as possible, and the rest."""
    fonts = {font.name: font.fname for font in font_manager.fontManager.ttflist if font.style == "normal"}
    found = {name: letters & _letters_in(file) for name, file in fonts.items() if "Last" not in name}
    families, left = [], letters
    while best := max(found, key=lambda name: (len(found[name] & left), "Sans" in name), default=None):
        if not found[best] & left:
            break
        families.append(best)
        left -= found[best]
    if left:
        _warn_of_letters()
    # A family without bold letters draws others in a bold title, of which each figure would warn.
    logging.getLogger("matplotlib.font_manager").addFilter(_is_not_of_weight)
    return tuple(families), left


@functools.cache  # said once
def _warn_of_letters() -> None:
    text = "no font of this system has some letters of the names: figures number the classes (fonts such as"
    warnings.warn(f"{text} Noto Sans CJK show them)", stacklevel=4)


def _is_not_of_weight(record: logging.LogRecord) -> bool:
    return "font weight" not in record.getMessage()


def new_figure(width: float, height: float, **options) -> Figure:
    """Make a figure of this size in inches, closed at once: notebooks display it, pyplot does not keep it."""
    figure = plt.figure(figsize=(width, height), **options)
    plt.close(figure)
    return figure


def axes_or_new(ax: Axes | None, width: float, height: float, title: str | None = None) -> Axes:
    """Return the Axes themselves, or those of a new figure of this size in inches, under this title."""
    ax, title = ax if ax is not None else new_figure(width, height).add_subplot(), drawable_title(title)
    ax.set_title(title, fontfamily=mpl.rcParams["font.family"])  # the title's text was made with the axes
    return ax


def set_head(figure: Figure, title: str | None) -> None:
    """Write the figure's title, if it has one, at its left edge."""
    if title := drawable_title(title):
        lines = textwrap.fill(title, round(10 * max(figure.get_figwidth(), 4.5)), break_long_words=False)
        figure.suptitle(lines, x=0.01, ha="left", fontsize=11, fontweight="bold")


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
