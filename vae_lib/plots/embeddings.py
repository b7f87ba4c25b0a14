"""Scatter plots of the latent space: codes embedded in the plane, coloured by class."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vae_lib.plots import style

MAX_NAMED = 20  # classes; with more, a scatter plot names none


@style.figure_style()
def plot_embedding(
    embedding: np.ndarray,
    labels: np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
    explained: Sequence[float] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Scatter a two-dimensional embedding, coloured by class, with each class named where its median lies.

    Args:
        embedding: Points, shape (n, 2).
        labels: Class indices from 0, shape (n,).
        class_names: Name of each class; the index where left out.
        explained: Fractions of variance on the two axes of a PCA, which label them. Without them the axes
            carry no ticks: those of t-SNE have no meaning.
        ax: Axes to draw on.
        title: Title, which should name the embedded code (z_mean or z) and n.
    """
    classes = range(int(np.max(labels)) + 1) if class_names is None else class_names
    names = np.array(style.drawable(classes))
    ax = style.axes_or_new(ax, 6.4, 5, title)
    colors = dict(zip(names, style.palette([f"class {i}" for i in range(len(names))]).values(), strict=True))
    order = np.random.default_rng(0).permutation(len(embedding))  # no class lies on top of the others
    points, classes = np.asarray(embedding)[order], names[np.asarray(labels).astype(int)[order]]
    named = 1 < len(names) <= MAX_NAMED
    data = {"x": points[:, 0], "y": points[:, 1], "hue": classes, "hue_order": names, "palette": colors}
    looks = {"s": np.clip(12_000 / len(points), 4, 25), "alpha": 0.75, "linewidth": 0, "rasterized": True}
    seaborn.scatterplot(**data, **looks, legend=named, ax=ax)
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.1)
    if explained is None:
        ax.set(xticks=[], yticks=[])
    else:
        xlabel, ylabel = (f"PC {i} ({part:.0%} of variance)" for i, part in enumerate(explained, start=1))
        ax.set(xlabel=xlabel, ylabel=ylabel)
    if named:
        _name_classes(ax, points, classes, names)
        plt.setp(ax.get_legend_handles_labels()[0], markersize=5, alpha=1)  # those of small points are too
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


@style.figure_style()
def plot_latent_organisation(
    pca: np.ndarray,
    tsne: Mapping[float, np.ndarray],
    labels: np.ndarray,
    *,
    explained: Sequence[float],
    class_names: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Show the same codes under PCA and, for each perplexity, under t-SNE, with what may be read from them.

    Args:
        pca: Principal components of z_mean, shape (n, 2).
        tsne: Perplexity -> t-SNE embedding of z_mean, shape (n, 2).
        labels: Class indices from 0, shape (n,).
        explained: Fractions of variance on the two principal components.
        class_names: Name of each class.
        title: Title of the figure, which should name data set and split.
    """
    if class_names is not None:
        class_names = style.drawable(class_names)  # the legend is made here
    figure = style.new_figure(min(10, 3.4 * (1 + len(tsne)) + 1), 4.2)
    panels = {"PCA": (pca, explained)}
    panels |= {f"t-SNE, perplexity {value:.3g}": (points, None) for value, points in tsne.items()}
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (name, (points, shares)) in zip(axes, panels.items(), strict=True):
        plot_embedding(points, labels, class_names=class_names, explained=shares, ax=ax, title=name)
        ax.spines[["top", "right"]].set_visible(shares is None)
    if axes[0].get_legend() is not None:  # one for all panels
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
        for ax in axes:
            ax.get_legend().remove()
    caption = (
        f"z_mean of {len(labels):,} images. PCA is linear: what lies near in this plane may lie far apart "
        "in the directions left out. t-SNE keeps neighbours only: its distances are not distances, and "
        "neither the gaps between clusters nor their sizes mean anything."
    )
    lines = textwrap.fill(caption, round(14 * figure.get_figwidth()))
    figure.supxlabel(lines, x=0.01, ha="left", fontsize=8.5, color=style.GREY)
    style.set_head(figure, title)
    return figure


def _name_classes(ax: Axes, points: np.ndarray, classes: np.ndarray, names: np.ndarray) -> None:
    """Write each class's name at the median of its points, moved up or down where names would collide."""
    present = [name for name in names if name in classes]
    centres = np.array([np.median(points[classes == name], axis=0) for name in present])
    extent = np.ptp(points, axis=0).max()
    heights = style.spread_apart(*centres.T, 0.03 * extent * max(map(len, present)), 0.06 * extent)
    text = {"ha": "center", "va": "center", "fontsize": 8.5, "fontweight": "bold", "color": "#202020"}
    for name, x, y in zip(present, centres[:, 0], heights, strict=True):
        ax.text(x, y, name, **text, path_effects=style.halo())
