"""Figures made of images: uint8 arrays in, a matplotlib Figure out that pyplot does not keep.

All images of a figure form one mosaic, drawn once: fast for hundreds of them, and at 100 or 200 dots per inch
every image pixel covers a whole number of dots. Channels are 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA; grey
runs from 0, black, to 255, white, in every figure. Titles say what the images are: data, means or draws.
"""

import textwrap
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vae_lib.plots.style import GREY, drawable, drawable_title, new_figure

KINDS = {"decoder mean": "decoder means (no pixel noise)", "draw from p(x|z)": "draws from p(x|z)"}
DOTS = 100  # per inch, on the screen; twice that in an exported file
WIDTH = 9.6  # inches a mosaic may take before its pixels shrink
CELL = 1.1  # inches a single image may take
ACCENT = "#e76300"


def image_grid(
    images: np.ndarray, *, n_cols: int = 10, title: str | None = None, row_labels: Sequence[str] = ()
) -> Figure:
    """Show images row by row; the last row may be ragged.

    Args:
        images: uint8, shape (n, height, width, channels).
        n_cols: Images in a row.
        title: Title.
        row_labels: Label of each row.
    """
    return _mosaic_figure(_in_rows(_checked(images, 4), n_cols), title=title, row_labels=row_labels)


def reconstruction_grid(
    x: np.ndarray,
    reconstruction: np.ndarray | Mapping[str, np.ndarray],
    *,
    n_cols: int = 12,
    annotations: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    title: str | None = None,
) -> Figure:
    """Show originals above their reconstructions, by one model or by several.

    Args:
        x: Original images, uint8, shape (n, height, width, channels).
        reconstruction: Means of p(x|z) for the same images, same shape; or model name -> such images.
        n_cols: Images in a row; more of them continue below, originals again above reconstructions.
        annotations: A short text under each reconstruction, such as "24.1 dB": n of them, or model name -> n.
        title: Title; what the images are where left out.
    """
    if isinstance(reconstruction, Mapping):
        models, notes = reconstruction, annotations or {}
        title = title or "Originals, and each model's reconstructions (means of p(x|z))"
    else:
        name = "reconstruction\n(mean of p(x|z))"
        models, notes = {name: reconstruction}, {name: annotations or ()}
    x = _checked(x, 4)
    for name, images in models.items():
        if np.shape(images) != x.shape:
            raise ValueError(f"{name!r} has shape {np.shape(images)}; give the shape of x, {x.shape}")
    sheets = np.stack([_in_rows(_checked(images, 4), n_cols) for images in (x, *models.values())], axis=1)
    starts = range(0, len(x), n_cols)
    texts = [notes.get(name, ())[i : i + n_cols] for i in starts for name in (None, *models)]
    labels = ["original", *models] * len(sheets)
    return _mosaic_figure(sheets.reshape(-1, *sheets.shape[2:]), title=title, row_labels=labels, texts=texts)


def contact_sheet(
    x: np.ndarray, reconstruction: np.ndarray, texts: Sequence[str], *, n: int, title: str
) -> Figure:
    """Show the first n images and the last n, each above its reconstruction, with a text under that.

    Args:
        x: Images in order, the likeliest first, uint8, shape (n_images, height, width, channels).
        reconstruction: Means of p(x|z) for the same images, same shape.
        texts: One for each image, such as its bits per dimension.
        n: Images in a row; of fewer than twice as many, half.
        title: Title.
    """
    n = min(n, max(1, len(x) // 2))
    ends = {"most likely": slice(0, n), "least likely": slice(len(x) - n, None)}
    ends = ends if len(x) > 1 else {"the image": slice(0, 1)}
    rows, labels, notes = [], [], []
    for name, part in ends.items():
        rows += [x[part], reconstruction[part]]
        labels += [name, "reconstruction\n(mean of p(x|z))"]
        notes += [(), texts[part]]
    return _mosaic_figure(_checked(np.stack(rows), 5), title=title, row_labels=labels, texts=notes)


def sample_grid(samples: np.ndarray, *, kind: str, prior: str = "model", title: str | None = None) -> Figure:
    """Show generated images, and say whether they are decoder means or draws, and where z comes from.

    Args:
        samples: uint8, shape (n, height, width, channels).
        kind: "decoder mean" or "draw from p(x|z)".
        prior: "model", or "mixture" for z from a mixture fitted to the codes.
        title: What stands before the kind in the title, such as the model's name.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; choose from {list(KINDS)}")
    source = {"model": "z ~ p(z)", "mixture": "z from a mixture fitted to codes"}[prior]
    return image_grid(samples, title=f"{title or 'Samples'}: {KINDS[kind]}, {source}")


def interpolation_grid(images: np.ndarray, *, title: str | None = None) -> Figure:
    """Show paths between pairs of images in latent space, a row each, with both reconstructions framed.

    Args:
        images: Decoder means, uint8, shape (n_pairs, steps, height, width, channels), from the reconstruction
            of one image to that of the other.
        title: Title; what the images are where left out.
    """
    images = _checked(images, 5)
    steps = np.linspace(0, 1, images.shape[1])
    labels = [f"t = {value:.2g}" if i == 0 else f"{value:.2g}" for i, value in enumerate(steps)]
    title = title or "Interpolation in latent space: decoder means; framed: the reconstructions at both ends"
    figure = _mosaic_figure(images, title=title, col_labels=labels)
    ax, width = figure.axes[0], images.shape[3] * _geometry(*images.shape[2:4])[0]
    height, right = ax.images[0].get_array().shape[:2]
    for left in (0, right - width):
        frame = {"fill": False, "edgecolor": ACCENT, "linewidth": 1.8, "clip_on": False}
        ax.add_patch(Rectangle((left - 0.5, -0.5), width, height, **frame))
    return figure


def manifold_grid(images: np.ndarray, quantiles: Sequence[float], *, title: str | None = None) -> Figure:
    """Show the plane of a 2-D latent space at quantiles of the prior N(0, 1), tails and all.

    Args:
        images: uint8, shape (k, k, height, width, channels): `images[i, j]` is decoded from z0 at quantile j
            and z1 at quantile i. Row 0 is drawn at the bottom, so that z1 rises upwards.
        quantiles: The k probabilities, rising, inside (0, 1).
        title: Title; what the images are, and how much of the prior they span, where left out.
    """
    images, quantiles = _checked(images, 5), np.asarray(quantiles, dtype=float)
    if images.shape[:2] != (quantiles.size, quantiles.size):
        raise ValueError(f"images form a {images.shape[:2]} grid; one quantile for each row and column")
    if quantiles.min() <= 0 or quantiles.max() >= 1 or np.any(np.diff(quantiles) <= 0):
        raise ValueError(f"quantiles are {quantiles.tolist()}; give rising probabilities inside (0, 1)")
    if title is None:
        inside = quantiles[-1] - quantiles[0]
        title = f"Decoder means over the latent plane: {inside:.3g} of the prior mass on each axis"
    every = -(-quantiles.size // 10)
    names = [f"{round(NormalDist().inv_cdf(q), 2) + 0.0:.2f}\n({q:.3g})".replace("-", "−") for q in quantiles]
    names = [name if min(i, len(names) - 1 - i) % every == 0 else "" for i, name in enumerate(names)]
    axes = {"xlabel": "z0 (quantile of the prior)", "ylabel": "z1 (quantile of the prior)"}
    return _mosaic_figure(images[::-1], title=title, row_labels=names[::-1], col_labels=names, **axes)


def traversal_grid(
    images: np.ndarray,
    *,
    dims: Sequence[int],
    rates: Sequence[float],
    values: Sequence[float],
    title: str | None = None,
) -> Figure:
    """Show what each latent changes while the others stay, a row each, in the order given.

    Args:
        images: Decoder means, uint8, shape (n_dims, steps, height, width, channels).
        dims: Index of the latent in each row; order them by rate, so that dead ones come last.
        rates: Rate of the latent in each row, in nats.
        values: Value of the latent in each column.
        title: Title; what the images are where left out.
    """
    images = _checked(images, 5)
    if not images.shape[:2] == (len(dims), len(values)) == (len(rates), len(values)):
        raise ValueError(
            f"images form a {images.shape[:2]} grid, with {len(dims)} dims, {len(rates)} rates and "
            f"{len(values)} values; give one dim and rate a row and one value a column"
        )
    rows = [f"z{dim} · {rate:.1f} nats" for dim, rate in zip(dims, rates, strict=True)]
    columns = [f"{value:+.3g}".replace("-", "−") if value else "0" for value in values]
    title = title or "Traversals: decoder means, one latent at a time"
    labels = {"row_labels": rows, "col_labels": columns, "xlabel": "value of the latent"}
    return _mosaic_figure(images, title=title, **labels)


def conditional_grid(images: np.ndarray, class_names: Sequence[str], *, title: str | None = None) -> Figure:
    """Show decoder means generated for each class, a row each.

    Args:
        images: uint8, shape (classes, n, height, width, channels).
        class_names: Name of each class.
        title: What stands in the title before the words that these are decoder means.
    """
    title = f"{title or 'Samples by class'}: {KINDS['decoder mean']}"
    return _mosaic_figure(_checked(images, 5), title=title, row_labels=class_names)


def _checked(images: np.ndarray, ndim: int) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != ndim or not 1 <= images.shape[-1] <= 4 or not images.size:
        axes = "n" if ndim == 4 else "rows, columns"
        raise ValueError(
            f"images are {images.dtype} of shape {images.shape}; give uint8 ({axes}, height, width, 1 to 4)"
        )
    return images


def _geometry(height: int, width: int) -> tuple[int, int]:
    """Array pixels per image pixel (small images get several, to keep gaps thin) and per gap."""
    scale = max(1, round(16 / max(height, width)))
    return scale, max(1, round(0.05 * scale * max(height, width)))


def _in_rows(images: np.ndarray, n_cols: int) -> np.ndarray:
    """Images (n, ...) in rows (n_rows, n_cols, ...), the last one filled up with white."""
    n_cols = min(n_cols, len(images))
    white = np.full((-len(images) % n_cols, *images.shape[1:]), 255, dtype=np.uint8)
    return np.concatenate([images, white]).reshape(-1, n_cols, *images.shape[1:])


@mpl.rc_context({"text.parse_math": False})  # a class may be called $0-$10
def _mosaic_figure(
    images: np.ndarray,
    *,
    title: str | None = None,
    row_labels: Sequence[str] = (),
    col_labels: Sequence[str] = (),
    xlabel: str | None = None,
    ylabel: str | None = None,
    texts: Sequence[Sequence[str]] = (),
) -> Figure:
    """Draw images (n_rows, n_cols, height, width, channels), with labels around and texts under single ones.

    Column labels stand above the images, or below them if they belong to a named axis.
    """
    if images.shape[-1] == 2:
        images = images[..., [0, 0, 0, 1]]  # RGBA
    scale, gap = _geometry(*images.shape[2:4])
    images = images.repeat(scale, axis=2).repeat(scale, axis=3)
    n_rows, n_cols, height, width, _ = images.shape
    dots = min(WIDTH * DOTS / (n_cols * (width + gap)), CELL * DOTS / (max(height, width) + gap))
    dots = float(np.floor(dots)) if dots >= 1 else dots  # dots per array pixel
    row_gap = round(16 / dots) if any(texts) else gap
    gaps = ((0, 0), (0, 0), (0, row_gap), (0, gap), (0, 0))
    canvas = np.concatenate(np.concatenate(np.pad(images, gaps, constant_values=255), axis=1), axis=1)
    canvas = canvas[:-row_gap, :-gap]
    inches = np.array(canvas.shape[1::-1]) * dots / DOTS
    row_labels, title = drawable(row_labels), drawable_title(title)
    figure = new_figure(*inches, dpi=DOTS, layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.imshow(canvas, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if dots >= 1 else "auto")
    middles = np.arange(n_cols) * (width + gap) + (width - 1) / 2
    levels = np.arange(n_rows) * (height + row_gap) + (height - 1) / 2
    for axis, places, labels in ((ax.yaxis, levels, row_labels), (ax.xaxis, middles, col_labels)):
        if len(labels) not in (0, len(places)):
            raise ValueError(f"{len(labels)} labels for {len(places)} rows or columns; give one for each")
        axis.set_ticks(places[: len(labels)], labels, fontsize=8.5)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    ax.tick_params(top=False, labeltop=xlabel is None, labelbottom=xlabel is not None, length=0)
    ax.set_xlabel(xlabel, fontsize=9.5)
    ax.set_ylabel(ylabel, fontsize=9.5)
    for level, row in zip(levels, texts, strict=False):
        for at, text in zip(middles, row, strict=False):
            bottom = level + (height - 1) / 2 + 2 / dots
            ax.text(at, bottom, text, ha="center", va="top", fontsize=8, color=GREY)
    if title:
        lines = textwrap.fill(title, round(13 * max(inches[0], 4.5)), break_long_words=False)
        ax.set_title(lines, loc="left", fontsize=10.5, fontweight="bold")
    return _fit(ax, inches)


def _fit(ax: Axes, inches: np.ndarray, margin: float = 0.06) -> Figure:
    """Grow the figure around axes of this size until every label is inside, on whole dots."""
    figure = ax.figure
    box = figure.get_tightbbox()
    corner = np.ceil((margin - box.min) * DOTS) / DOTS
    size = np.ceil((corner + box.max + margin) * DOTS) / DOTS
    figure.set_size_inches(size)
    ax.set_position((*(corner / size), *(inches / size)))
    return figure
