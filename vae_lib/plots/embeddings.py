"""Scatter plots of the latent space: codes embedded in the plane, coloured by class."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vae_lib.plots.style import (
    GREY,
    axes_or_new,
    figure_style,
    halo,
    new_figure,
    palette,
    set_head,
    spread_apart,
)

MAX_NAMED = 20  # classes; with more, a scatter plot names none


@figure_style()
def plot_embedding(
    embedding: np.ndarray,
    labels: np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
    explained: Sequence[float] | None = None,
    axis_labels: tuple[str, str] | None = None,
    legend: bool = True,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Scatter a two-dimensional embedding, coloured by class, with each class named where its median lies.

    Args:
        embedding: Points, shape (n, 2).
        labels: Class indices from 0, shape (n,).
        class_names: Name of each class; the index where left out.
        explained: Fractions of variance on the two axes of a PCA, which label them.
        axis_labels: Labels of axes that have a meaning of their own, such as ("z0", "z1"). With neither
            of the two, the axes carry no ticks, as t-SNE's have no meaning.
        legend: Whether to list the classes beside the axes.
        ax: Axes to draw on.
        title: Title, which should name the embedded code (z_mean or z) and n.
    """
    ax = axes_or_new(ax, 6.4, 5)
    names, colors = _classes(labels, class_names)
    order = np.random.default_rng(0).permutation(len(embedding))  # no class lies on top of the others
    points, classes = np.asarray(embedding)[order], np.asarray(labels)[order].astype(int)
    size = np.clip(12_000 / len(points), 4, 25)
    ax.scatter(*points.T, s=size, c=np.array(colors)[classes], alpha=0.75, linewidths=0, rasterized=True)
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.1)
    ax.set_title(title)
    if explained is not None:
        axis_labels = tuple(f"PC {i} ({part:.0%} of variance)" for i, part in enumerate(explained, start=1))
    if axis_labels is None:
        ax.set(xticks=[], yticks=[])
    else:
        ax.set(xlabel=axis_labels[0], ylabel=axis_labels[1])
    if 1 < len(names) <= MAX_NAMED:
        _name_classes(ax, points, classes, names)
    if legend and 1 < len(names) <= MAX_NAMED:
        ax.legend(handles=_dots(names, colors), loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


@figure_style()
def plot_latent_organisation(
    pca: np.ndarray,
    tsne: Mapping[float, np.ndarray],
    labels: np.ndarray,
    *,
    explained: Sequence[float],
    class_names: Sequence[str] | None = None,
    codes: str = "z_mean",
    title: str | None = None,
) -> Figure:
    """Show the same codes under PCA and, for each perplexity, under t-SNE, with what may be read from them.

    Args:
        pca: Principal components, shape (n, 2).
        tsne: Perplexity -> t-SNE embedding, shape (n, 2).
        labels: Class indices from 0, shape (n,).
        explained: Fractions of variance on the two principal components.
        class_names: Name of each class.
        codes: What is embedded, in every panel: "z_mean" or "z".
        title: Title of the figure, which should name data set and split.
    """
    figure = new_figure(min(10, 3.4 * (1 + len(tsne)) + 1), 4.2)
    first, *rest = figure.subplots(1, 1 + len(tsne), squeeze=False)[0]
    keywords = {"class_names": class_names, "legend": False}
    plot_embedding(pca, labels, explained=explained, ax=first, title="PCA", **keywords)
    for ax, (perplexity, points) in zip(rest, tsne.items(), strict=True):
        plot_embedding(points, labels, ax=ax, title=f"t-SNE, perplexity {perplexity:.3g}", **keywords)
        ax.spines[["top", "right"]].set_visible(True)
    names, colors = _classes(labels, class_names)
    if 1 < len(names) <= MAX_NAMED:
        figure.legend(handles=_dots(names, colors), loc="outside right center")
    caption = (
        f"{codes} of {len(labels):,} images. PCA is linear: what lies near in this plane may lie far apart "
        "in the directions left out. t-SNE keeps neighbours only: its distances are not distances, and "
        "neither the gaps between clusters nor their sizes mean anything."
    )
    lines = textwrap.fill(caption, round(14 * figure.get_figwidth()))
    figure.supxlabel(lines, x=0.01, ha="left", fontsize=8.5, color=GREY)
    set_head(figure, title)
    return figure


def _classes(labels: np.ndarray, class_names: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Name and colour of each class."""
    count = int(np.max(labels)) + 1 if class_names is None else len(class_names)
    names = [str(name) for name in (range(count) if class_names is None else class_names)]
    return names, list(palette([f"class {i}" for i in range(count)]).values())


def _dots(names: Sequence[str], colors: Sequence[str]) -> list[Line2D]:
    """Legend entries of a scatter plot."""
    dot = {"linestyle": "", "marker": "o", "markersize": 5}
    return [Line2D([], [], color=color, label=name, **dot) for name, color in zip(names, colors, strict=True)]


def _name_classes(ax: Axes, points: np.ndarray, classes: np.ndarray, names: Sequence[str]) -> None:
    """Write each class's name at the median of its points, moved up or down where names would collide."""
    present = np.unique(classes)
    centres = np.array([np.median(points[classes == index], axis=0) for index in present])
    extent = np.ptp(points, axis=0).max()
    width = 0.03 * extent * max(len(str(names[index])) for index in present)
    heights = spread_apart(*centres.T, width, 0.06 * extent)
    for index, x, y in zip(present, centres[:, 0], heights, strict=True):
        text = {"ha": "center", "va": "center", "fontsize": 8.5, "fontweight": "bold"}
        ax.text(x, y, str(names[index]), **text, color="#202020", path_effects=halo())
