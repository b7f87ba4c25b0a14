"""Several measures of one sweep side by side, in one figure."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from vae_lib.plots import plot_metric
from vae_lib.style import new_figure, set_head, style


@style()
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
