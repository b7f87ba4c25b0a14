"""Curves and comparisons drawn from frames.

Where runs differ only in their seed, a point is their mean and its bar the 95 % interval of that mean
(Student's t). `style` says how figures look, and why pyplot keeps none of them.
"""

import itertools
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from vae_lib.metrics.intervals import mean_interval
from vae_lib.metrics.registry import label_of
from vae_lib.plots import style

SETTINGS = {"beta": "β", "dataset": "data set", "latent_dim": "latent size"}

_TERMS = {"loss": "loss = distortion + β · rate", "distortion": "distortion", "rate": "rate"}
_PARTS = {"train": ("", "--"), "validation": ("val_", "-")}  # prefix of the column, style of the line


@style.figure_style()
def plot_loss_curves(
    history: pd.DataFrame | Mapping[str, pd.DataFrame], *, title: str | None = None
) -> Figure:
    """Draw loss, distortion and rate over the epochs: solid on validation images, dashed on training images.

    Args:
        history: One row per epoch, columns epoch, loss, distortion, rate and, if validated, `val_` of
            each, in nats per image; or run name -> such a frame.
        title: Title of the figure.
    """
    runs = history if isinstance(history, Mapping) else {"": history}
    colors, figure = style.palette(list(runs)), style.new_figure(10, 3.6)
    axes = figure.subplots(1, 3)
    for (run, frame), (part, (prefix, line)) in itertools.product(runs.items(), _PARTS.items()):
        if part == "validation" and "val_loss" not in frame:
            continue
        _require_columns(frame, ["epoch", *(prefix + term for term in _TERMS)])
        looks = {"color": colors[run], "linestyle": line, "linewidth": 1.4, "label": f"{run} {part}".strip()}
        if len(frame) == 1:  # a line needs two points
            looks |= {"marker": "o", "markersize": 5, "fillstyle": "none" if part == "train" else "full"}
        for ax, term in zip(axes, _TERMS, strict=True):
            ax.plot(frame["epoch"], frame[prefix + term], **looks)
    for ax, name in zip(axes, _TERMS.values(), strict=True):
        ax.set(title=name, xlabel="epoch", ylabel="nats per image")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    style.set_head(figure, title)
    return figure


@style.figure_style()
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
        frame: A row per run, with the columns `x`, `y`, `by`, `hue` and `seed`.
        x: Metric on the horizontal axis, in nats.
        y: Metric on the vertical axis, in nats.
        hue: Column that separates the curves.
        by: Column swept along a curve; its values stand beside the points.
        ax: Axes to draw on.
        title: Title.
    """
    ax = style.axes_or_new(ax, 6.4, 4.6, title)
    runs, colors = _curves(frame, by, hue, [x, y])
    along = [np.empty((0, 2))]
    for name, color in colors.items():
        seeds = runs[runs["curve"] == name].groupby(by)[[x, y]]
        mean, half = seeds.mean(), seeds.agg(lambda values: mean_interval(values)[1])
        bars = {"xerr": half[x], "yerr": half[y], "capsize": 2, "elinewidth": 1}
        ax.errorbar(mean[x], mean[y], **bars, fmt="o-", color=color, markersize=4.5, label=name)
        for i, (value, point) in enumerate(mean.iterrows()):
            text = _named(by, value) if i == 0 else f"{value:g}"
            where = {"xytext": (5, 5), "textcoords": "offset points"}
            looks = {"color": _dark(color), "fontsize": 8.5, "path_effects": style.halo()}
            ax.annotate(text, tuple(point), **where, **looks)
        along.append(Path(mean).interpolated(20).vertices)
    ax.margins(x=0.12)
    _draw_iso_elbo(ax, np.concatenate(along))
    ax.set(xlabel=f"{_label(x)}\n{_seed_note(runs, by)}", ylabel=_label(y))
    if hue is not None:
        ax.legend(frameon=True, edgecolor="none")
    return ax


@style.figure_style()
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
    """Draw a metric against a setting: mean and 95 % interval over seeds, beside baselines.

    Args:
        frame: A row per run, with the columns `x`, `y`, `hue` and `seed`; runs without the metric are left
            out.
        x: Column of the setting; numbers are joined by a line, names stand side by side.
        y: Column of the metric.
        hue: Column that separates the curves.
        baselines: Label -> value of each horizontal line to compare with.
        log2_x: Whether the numbers of the setting double from point to point, as latent sizes and betas do.
        ax: Axes to draw on.
        title: Title.
    """
    ax = style.axes_or_new(ax, 6.4, 4.2, title)
    runs, colors = _curves(frame, x, hue, [y])
    look = {"x": x, "y": y, "hue": "curve", "hue_order": list(colors), "palette": colors, "ax": ax}
    look |= {"errorbar": _interval, "marker": "o", "markersize": 5, "markeredgewidth": 0}
    ends = [(name, value, style.GREY) for name, value in (baselines or {}).items()]
    for _, value, color in ends:
        ax.axhline(value, color=color, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    if pd.api.types.is_numeric_dtype(runs[x]):
        bars = {"capsize": 2.5, "elinewidth": 1.1}
        seaborn.lineplot(runs, **look, err_style="bars", err_kws=bars, legend=False)
        if hue is not None:
            last = runs[x] == runs.groupby("curve")[x].transform("max")
            means = runs[last].groupby("curve", sort=False)[y].mean()
            ends += [(name, mean, _dark(colors[name])) for name, mean in means.items()]
    else:
        dodge = min(0.12, 0.8 / len(colors)) * (len(colors) - 1)
        bars = {"capsize": 0.03, "err_kws": {"linewidth": 1.1}}
        seaborn.pointplot(runs, **look, **bars, linestyle="none", dodge=dodge, legend=hue is not None)
        if hue is not None:
            ax.legend()
    if log2_x:
        settings = sorted(runs[x].unique())
        positive = [setting for setting in settings if setting > 0]
        if len(positive) < len(settings):  # a beta of 0, say
            ax.set_xscale("symlog", base=2, linthresh=min(positive, default=1.0), linscale=0.5)
        else:
            ax.set_xscale("log", base=2)
        ax.set_xticks(settings, [f"{setting:g}" for setting in settings])
        ax.set_xticks([], minor=True)
    _name_on_right(ax, ends)
    ax.set(xlabel=f"{_label(x)}\n{_seed_note(runs, x)}", ylabel=_label(y))
    return ax


@style.figure_style()
def metric_panels(
    runs: pd.DataFrame,
    x: str,
    measures: Sequence[str] | Mapping[str, str],
    *,
    hue: str | None = None,
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw a panel for each metric, three in a row, against a setting that doubles from cell to cell.

    Args:
        runs: A row per run, with the columns `x`, `seed`, `hue` and the measures; a run without a score is
            left out of that measure's panel.
        x: Column of the setting.
        measures: Columns of metrics, one for each panel; or column -> label of its vertical axis.
        hue: Column that separates the curves.
        baselines: Column -> label -> value of each horizontal line to compare with.
        title: Title of the figure.
    """
    labels = measures if isinstance(measures, Mapping) else {measure: _label(measure) for measure in measures}
    rows = -(-len(labels) // 3)
    figure = style.new_figure(11.1, 3.3 * rows)
    axes = figure.subplots(rows, 3, squeeze=False).flat
    for ax, (measure, label) in zip(axes, labels.items(), strict=False):
        lines = (baselines or {}).get(measure)
        plot_metric(runs, x, measure, hue=hue, baselines=lines, log2_x=True, ax=ax)
        ax.set_ylabel(textwrap.fill(label, 32))
    for ax in figure.axes[len(labels) :]:
        ax.remove()
    notes = {ax.get_xlabel().partition("\n")[2] for ax in figure.axes}
    if len(notes) == 1:  # said once for all
        for ax in figure.axes:
            ax.set_xlabel(_label(x))
        figure.supxlabel(notes.pop(), size=mpl.rcParams["axes.labelsize"])
    style.set_head(figure, title)
    return figure


def _label(column: str) -> str:
    return SETTINGS.get(column) or label_of(column)


def _named(column: str, value: object) -> str:
    """The value as a name that stands alone: `fashion_mnist`, but `β = 4`."""
    if isinstance(value, str):
        return value
    return f"{_label(column)} = {value:g}" if style.is_number(value) else f"{_label(column)}: {value}"


def _dark(color: str) -> tuple[float, ...]:
    """The colour dark enough for text on white."""
    return tuple(0.7 * part for part in mpl.colors.to_rgb(color))


def _require_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in frame]
    if missing:
        raise ValueError(f"frame lacks the columns {missing}; it has {list(frame.columns)}")


def _curves(
    frame: pd.DataFrame, setting: str, hue: str | None, measures: list[str]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the runs that have the measures, with a column `curve` of names, and the colour of each name."""
    keys = [setting, *([] if hue is None else [hue])]
    _require_columns(frame, keys + measures)
    values = pd.Series("", frame.index) if hue is None else frame[hue]
    order = sorted(values.unique()) if pd.api.types.is_numeric_dtype(values) else list(values.unique())
    shown = style.drawable([_named(str(hue), value) for value in order], "curve {}")
    names = dict(zip(order, shown, strict=True))
    runs = frame.assign(curve=values.map(names)).dropna(subset=measures)
    if "seed" in runs and runs.duplicated([*keys, "seed"]).any():
        raise ValueError(f"several runs share one value of {keys} and seed; keep one of each other setting")
    return runs, dict(zip(names.values(), style.palette(order).values(), strict=True))


def _interval(values: pd.Series) -> tuple[float, float]:
    """Both ends of the 95 % interval of the mean; nan for a single value, which draws no bar."""
    mean, half_width = mean_interval(values)
    return mean - half_width, mean + half_width


def _seed_note(runs: pd.DataFrame, setting: str) -> str:
    sizes = runs.groupby([setting, "curve"]).size()
    low, high = sizes.min(), sizes.max()
    if high == 1:
        return "one run each: no interval"
    return f"mean and 95 % interval over {high if low == high else f'{low} to {high}'} seeds"


def _draw_iso_elbo(ax: Axes, data: np.ndarray) -> None:
    """Draw lines of equal rate + distortion behind the data (n, 2), each named at the end that is freer."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    margin, size = 0.13 * (right - left), (right - left, top - bottom)  # half a name; the panel
    for total in MaxNLocator(8).tick_values(left + bottom, right + top):
        start, end = max(left, total - top), min(right, total - bottom)
        if end - start < 0.3 * (right - left):  # too short for its name
            continue
        ax.plot([start, end], [total - start, total - end], color="#c9c9c9", linewidth=0.8, zorder=0.5)
        ends = (start + margin, end - margin)
        away = [np.linalg.norm((data - (at, total - at)) / size, axis=1).min(initial=np.inf) for at in ends]
        at = ends[np.argmax(away)]
        turned = {"rotation": -45, "transform_rotates_text": True, "rotation_mode": "anchor", "ha": "center"}
        looks = {"fontsize": 8, "color": style.GREY, "zorder": 0.6, "path_effects": style.halo()}
        ax.text(at, total - at, f"ELBO {-total:g}".replace("-", "−"), **turned, **looks)
    ax.set(xlim=(left, right), ylim=(bottom, top))
    ax.grid(visible=False)


def _name_on_right(ax: Axes, ends: Sequence[tuple[str, float, object]]) -> None:
    """Write (name, y, colour) to the right of the axes, moved apart where they would collide."""
    heights = np.array([height for _, height, _ in ends], dtype=float)
    places = style.spread_apart(np.zeros(len(ends)), heights, 1.0, 0.05 * float(np.ptp(ax.get_ylim())))
    looks = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 8.5}
    for (name, _, color), place in zip(ends, places, strict=True):
        ax.text(1.01, place, name, color=color, **looks)
