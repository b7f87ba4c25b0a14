"""How a search went: its trials in turn, and how much each setting matters."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from vae_lib.metrics.registry import HIGHER, METRICS, label_of
from vae_lib.plots import style
from vae_lib.plots.curves import SETTINGS


@style.figure_style()
def plot_trials(
    trials: pd.DataFrame, measure: str, *, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Draw the value of every trial, and the best so far; the first is the default.

    Values beyond the axis, as of trials that were stopped early, are drawn at its edge.

    Args:
        trials: A row per trial, with the columns `trial`, `status` and `value`, NaN if it has none.
        measure: Whose values these are, by its name in `METRICS`.
        ax: Axes to draw on.
        title: Title.
    """
    ax = style.axes_or_new(ax, 6.4, 4.0, title)
    higher = METRICS[measure].direction == HIGHER
    trials = trials.sort_values("trial")
    done, rest = trials[trials["status"] == "finished"], trials[trials["status"] != "finished"]
    low, high = done["value"].min(), done["value"].max()
    margin = 0.15 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - margin, high + margin
    best = done["value"].cummax() if higher else done["value"].cummin()
    count = f"{len(done)} that finished"
    ax.scatter(done["trial"], done["value"], color=style.COLORS[0], s=24, zorder=3, label=count)
    ax.step(done["trial"], best, where="post", color=style.COLORS[1], label="best so far")
    edge = low if higher else high
    shown = rest["value"].astype(float).fillna(edge).clip(low, high)
    looks = {"color": style.GREY, "marker": "x", "s": 18, "clip_on": False}
    ax.scatter(rest["trial"], shown, **looks, label=f"{len(rest)} stopped before")
    ax.set(xlabel="trial", ylabel=label_of(f"{measure}_val"), ylim=(low, high))
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.legend()
    return ax


@style.figure_style()
def plot_importances(shares: pd.DataFrame, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw how much of the variance of a measure each setting explains.

    Args:
        shares: Columns `setting`, `share` and `of`: the trials that it was computed from, a bar for each.
        ax: Axes to draw on.
        title: Title.
    """
    ax = style.axes_or_new(ax, 6.4, 3.6, title)
    table = shares.pivot_table(index="setting", columns="of", values="share", sort=False)
    table = table.sort_values(table.columns[0])
    height, places = 0.8 / len(table.columns), np.arange(len(table))
    for i, (of, values) in enumerate(table.items()):
        ax.barh(places - i * height, values, height, color=style.COLORS[i], label=of)
    names = [SETTINGS.get(name, name.replace("_", " ")) for name in table.index]
    ax.set_yticks(places - 0.5 * height * (len(table.columns) - 1), names)
    ax.set(xlabel="share of the variance", xlim=(0, 1))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.grid(visible=False, axis="y")
    ax.legend(loc="lower right")
    return ax
