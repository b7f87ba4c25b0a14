"""Curves and comparisons drawn from arrays and frames.

Where runs differ only in their seed, a point is their mean and its bar the 95 % interval of that mean
(Student's t). How figures are drawn, and closed, is told in `style`.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vae_lib.metrics.intervals import mean_interval
from vae_lib.plots.style import (
    COLORS,
    GREY,
    axes_or_new,
    figure_style,
    halo,
    is_number,
    new_figure,
    palette,
    set_head,
    spread_apart,
)

LABELS = {
    "active_units": "active units (latents)",
    "beta": "β",
    "bits_per_dim": "bits per dimension",
    "dataset": "data set",
    "distortion": "distortion, −log p(x|z) (nats per image)",
    "elbo": "ELBO (nats per image)",
    "latent_dim": "latent size (dimensions)",
    "mig": "mutual information gap",
    "psnr": "PSNR (dB)",
    "rate": "rate, KL(q(z|x) ‖ p(z)) (nats per image)",
}

# Column prefix and line style of the two parts of a history.
_PARTS = {"train": ("", "--"), "validation": ("val_", "-")}


@figure_style()
def plot_loss_curves(
    history: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    axes: Sequence[Axes] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw loss, distortion and rate over the epochs: solid on validation images, dashed on training images.

    Args:
        history: One row per epoch, columns epoch, loss, distortion, rate and, if validated, `val_` of
            each, in nats per image; or run name -> such a frame.
        axes: Three Axes to draw on instead of a new figure.
        title: Title of the figure, if it is a new one.
    """
    runs = history if isinstance(history, Mapping) else {"": history}
    figure = axes[0].figure if axes is not None else new_figure(10, 3.6)
    panels = axes if axes is not None else figure.subplots(1, 3)
    colors = palette(list(runs))
    names = {"loss": "loss = distortion + β · rate", "distortion": "distortion", "rate": "rate"}
    for ax, (column, name) in zip(panels, names.items(), strict=True):
        for run, frame in runs.items():
            _require_columns(frame, ["epoch", column])
            for part, (prefix, line) in _PARTS.items():
                if prefix + column in frame:
                    label, looks = f"{run} {part}".strip(), {"color": colors[run], "linewidth": 1.4}
                    looks |= {"marker": "o", "markersize": 4} if len(frame) == 1 else {}  # a line needs two
                    ax.plot(frame["epoch"], frame[prefix + column], line, label=label, **looks)
        ax.set(title=name, xlabel="epoch", ylabel="nats per image")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if axes is not None:
        panels[0].legend(handles=_loss_handles(runs, colors))
    else:
        figure.legend(handles=_loss_handles(runs, colors), loc="outside lower center", ncols=6)
        set_head(figure, title)
    return figure


@figure_style()
def plot_rate_distortion(
    frame: pd.DataFrame,
    *,
    x: str = "rate",
    y: str = "distortion",
    hue: str | None = None,
    by: str = "beta",
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw distortion against rate along a sweep, with lines of equal ELBO = -(rate + distortion).

    Args:
        frame: A row per run with columns `x`, `y`, `by`, `hue` (and seed); or tidy, a row per run and
            measure.
        x: Measure on the horizontal axis, in nats.
        y: Measure on the vertical axis, in nats.
        hue: Column that separates the curves.
        by: Column swept along a curve; its values stand beside the points.
        ax: Axes to draw on.
        title: Title.
    """
    ax = axes_or_new(ax, 6.4, 4.6)
    runs, curves = _runs(frame, [by, hue], [x, y]), []
    for label, color, group in _groups(runs, hue):
        seeds = group.groupby(by, sort=True)
        mean, half = seeds[[x, y]].mean(), seeds[[x, y]].agg(_half_width)
        curves.append(mean.to_numpy())
        bars = {"xerr": half[x], "yerr": half[y], "capsize": 2, "elinewidth": 1}
        ax.errorbar(mean[x], mean[y], **bars, fmt="o-", color=color, markersize=4.5, label=label)
        for i, (value, point) in enumerate(mean.iterrows()):
            name = _named(by, value) if i == 0 else f"{value:g}"
            where = {"xytext": (5, 5), "textcoords": "offset points"}
            ax.annotate(name, tuple(point), **where, color=_dark(color), fontsize=8.5, path_effects=halo())
    ax.margins(x=0.12)
    _draw_iso_elbo(ax, np.concatenate([_dense(curve) for curve in curves]))
    ax.set(xlabel=f"{_label(x)}\n{_seed_note(runs, [by, hue])}", ylabel=_label(y), title=title)
    if hue is not None:
        ax.legend(loc="upper right", frameon=True, edgecolor="none")
    return ax


@figure_style()
def plot_metric(
    frame: pd.DataFrame,
    x: str,
    y: str,
    *,
    hue: str | None = None,
    baselines: Mapping[str, float] | None = None,
    log2_x: bool = False,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw one measure against a setting: mean and 95 % interval over seeds, beside baselines.

    Args:
        frame: A row per run with columns `x`, `y`, `hue` (and seed); or tidy, a row per run and measure.
        x: Column of the setting; numbers are joined by a line, names stand side by side.
        y: The measure.
        hue: Column that separates the curves.
        baselines: Label -> value of each horizontal line to compare with.
        log2_x: Whether the setting doubles from point to point, as latent sizes and betas do.
        ax: Axes to draw on.
        title: Title.
    """
    ax = axes_or_new(ax, 6.4, 4.2)
    runs = _runs(frame, [x, hue], [y])
    numeric = pd.api.types.is_numeric_dtype(runs[x])
    places = {value: value if numeric else i for i, value in enumerate(runs[x].drop_duplicates())}
    groups = _groups(runs, hue)
    ends = [(name, value, GREY) for name, value in (baselines or {}).items()]
    for i, (label, color, group) in enumerate(groups):
        shift = 0.0 if numeric else min(0.12, 0.8 / len(groups)) * (i - (len(groups) - 1) / 2)
        seeds = group.groupby(group[x].map(places) + shift, sort=True)[y]
        mean, half = seeds.mean(), seeds.agg(_half_width)
        line = {"fmt": "o-" if numeric else "o", "color": color, "markersize": 4.5, "label": label}
        ax.errorbar(mean.index, mean, yerr=half, capsize=2.5, elinewidth=1.1, **line)
        if numeric and hue is not None:
            ends.append((label, mean.iloc[-1], _dark(color)))
    for value in (baselines or {}).values():
        ax.axhline(value, color=GREY, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    if log2_x:
        ax.set_xscale("log", base=2)
    if log2_x or not numeric:
        names = [f"{value:g}" if numeric else str(value) for value in places]
        ax.set_xticks(list(places.values()), names)
        ax.set_xticks([], minor=True)
    if not numeric:
        ax.set_xlim(-0.5, len(places) - 0.5)
    _name_on_right(ax, ends)
    ax.set(xlabel=f"{_label(x)}\n{_seed_note(runs, [x, hue])}", ylabel=_label(y), title=title)
    if hue is not None and not numeric:
        ax.legend()
    return ax


def _label(column: str) -> str:
    part, _, measure = column.partition("_")
    if part in ("test", "val") and measure in LABELS:
        return f"{'test' if part == 'test' else 'validation'} {LABELS[measure]}"
    return LABELS.get(column, column.replace("_", " "))


def _named(column: str, value: object) -> str:
    """The value as a name that stands alone: `fashion_mnist`, but `β = 4`."""
    if isinstance(value, str):
        return value
    symbol = {"beta": "β", "latent_dim": "latent"}.get(column, column.replace("_", " "))
    return f"{symbol} = {value:g}" if is_number(value) else f"{symbol}: {value}"


def _dark(color: str) -> tuple[float, ...]:
    """The colour dark enough for text on white."""
    return tuple(0.7 * part for part in mpl.colors.to_rgb(color))


def _loss_handles(runs: Mapping[str, pd.DataFrame], colors: Mapping[str, str]) -> list[Line2D]:
    """Legend of the loss curves: a colour for each run, where there are several, and a line for each part."""
    several = len(runs) > 1
    handles = [Line2D([], [], color=colors[run], label=str(run)) for run in runs] if several else []
    for part, (prefix, line) in _PARTS.items():
        if any(f"{prefix}loss" in frame for frame in runs.values()):
            handles.append(Line2D([], [], color=GREY if several else COLORS[0], linestyle=line, label=part))
    return handles


def _require_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ValueError(f"frame lacks the columns {missing}; it has {list(frame.columns)}")


def _runs(frame: pd.DataFrame, settings: Sequence[str | None], measures: list[str]) -> pd.DataFrame:
    """One row per run with its settings, seed and measures, from a wide or a tidy frame."""
    keys = [setting for setting in settings if setting is not None]
    tidy = {"measure", "value"} <= set(frame.columns)
    keys += ["seed"] if tidy or "seed" in frame else []
    _require_columns(frame, keys if tidy else keys + measures)
    if tidy:
        frame = frame[frame["measure"].isin(measures)]
        absent = sorted(set(measures) - set(frame["measure"]))
        if absent:
            raise ValueError(f"frame has no rows with measure {absent}; add them or name another measure")
    if "seed" in frame and frame.duplicated([*keys, "measure"] if tidy else keys).any():
        raise ValueError(f"several runs share one value of {keys}; keep one setting of the other columns")
    if tidy:
        frame = frame.astype({"value": float})
        frame = frame.pivot_table(index=keys, columns="measure", values="value").reset_index()
    return frame.dropna(subset=measures)


def _groups(runs: pd.DataFrame, hue: str | None) -> list[tuple[str | None, str, pd.DataFrame]]:
    """Label, colour and runs of each curve: numbers in rising order, names as they come."""
    if hue is None:
        return [(None, COLORS[0], runs)]
    values = list(runs[hue].drop_duplicates())
    values = sorted(values) if pd.api.types.is_numeric_dtype(runs[hue]) else values
    return [(_named(hue, value), color, runs[runs[hue] == value]) for value, color in palette(values).items()]


def _half_width(values: pd.Series) -> float:
    """Half of the 95 % interval of the mean; nan for a single value, which draws no bar."""
    return mean_interval(values)[1]


def _seed_note(runs: pd.DataFrame, settings: Sequence[str | None]) -> str:
    sizes = runs.groupby([setting for setting in settings if setting is not None]).size()
    low, high = sizes.min(), sizes.max()
    if high == 1:
        return "one run each: no interval"
    return f"mean and 95 % interval over {high if low == high else f'{low} to {high}'} seeds"


def _dense(curve: np.ndarray) -> np.ndarray:
    """Points (n, 2) along the line that joins the points of a curve."""
    if len(curve) < 2:
        return curve
    steps = np.arange(len(curve))
    along = np.linspace(0, len(curve) - 1, 20 * len(curve))
    return np.column_stack([np.interp(along, steps, values) for values in curve.T])


def _draw_iso_elbo(ax: Axes, data: np.ndarray) -> None:
    """Draw lines of equal rate + distortion behind the data (n, 2), each named at the end that is freer."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    room, size = 0.13 * (right - left), (right - left, top - bottom)  # half a name; the panel
    for total in MaxNLocator(8).tick_values(left + bottom, right + top):
        start, end = max(left, total - top), min(right, total - bottom)
        if end - start < 0.3 * (right - left):  # too short for its name
            continue
        ax.plot([start, end], [total - start, total - end], color="#c9c9c9", linewidth=0.8, zorder=0.5)
        middles = {at: (at, total - at) for at in (start + room, end - room)}
        away = {at: np.linalg.norm((data - middle) / size, axis=1) for at, middle in middles.items()}
        at = max(away, key=lambda end: away[end].min(initial=np.inf))
        turned = {"rotation": -45, "transform_rotates_text": True, "rotation_mode": "anchor", "ha": "center"}
        looks = {"fontsize": 8, "color": GREY, "zorder": 0.6, "path_effects": halo()}
        ax.text(at, total - at, f"ELBO {-total:g}".replace("-", "−"), **turned, **looks)
    ax.set(xlim=(left, right), ylim=(bottom, top))
    ax.grid(visible=False)


def _name_on_right(ax: Axes, ends: Sequence[tuple[str, float, object]]) -> None:
    """Write (name, y, colour) to the right of the axes, moved apart where they would collide."""
    heights = np.array([height for _, height, _ in ends], dtype=float)
    places = spread_apart(np.zeros(len(ends)), heights, 1.0, 0.05 * float(np.ptp(ax.get_ylim())))
    looks = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 8.5}
    for (name, _, color), place in zip(ends, places, strict=True):
        ax.text(1.01, place, name, color=color, **looks)


@figure_style()
def metric_panels(
    runs: pd.DataFrame,
    x: str,
    measures: Mapping[str, str],
    *,
    hue: str | None = None,
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    columns: int = 3,
    title: str | None = None,
) -> Figure:
    """Draw a panel for each measure against a setting that doubles from cell to cell.

    Args:
        runs: A row per run, with the columns `x`, `seed`, `hue` and the measures; a run without a score is
            left out of that measure's panel.
        x: Column of the setting.
        measures: Column -> label of its vertical axis, unit included.
        hue: Column that separates the curves.
        baselines: Measure -> label -> value of each horizontal line to compare with.
        columns: Panels in a row.
        title: Title of the figure.
    """
    rows = -(-len(measures) // columns)
    figure = new_figure(3.7 * columns, 3.3 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for ax, (measure, label) in zip(axes, measures.items(), strict=False):
        lines = (baselines or {}).get(measure)
        plot_metric(runs.dropna(subset=[measure]), x, measure, hue=hue, baselines=lines, log2_x=True, ax=ax)
        ax.set_ylabel(label)
    for ax in figure.axes[len(measures) :]:
        ax.remove()
    labels = [ax.get_xlabel().partition("\n") for ax in figure.axes]
    notes = {note for _, _, note in labels}
    if len(notes) == 1:  # said once for all
        for ax, (label, _, _) in zip(figure.axes, labels, strict=True):
            ax.set_xlabel(label)
        figure.supxlabel(notes.pop(), size=plt.rcParams["axes.labelsize"])
    set_head(figure, title)
    return figure
