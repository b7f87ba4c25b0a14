"""Scores of images that a model was trained for beside those of others, and how well they tell them apart."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from vae_lib.plots import style

_BINS = 120


@style.figure_style()
def plot_novelty(
    costs: Mapping[str, np.ndarray], table: pd.DataFrame, *, unit: str = "bits/dim", title: str | None = None
) -> Figure:
    """Draw the distribution of the bound over each set, and beside it the AUROC of each score.

    Args:
        costs: Set -> -ELBO of its images, shape (n,); the model's own set first.
        table: A row for each other set and score, columns `outside`, `score`, `auroc`, `half_width`, `over`.
        unit: Of the costs.
        title: Title of the figure.
    """
    own, *outside = costs
    aurocs, halves = (
        table.pivot_table(values, "outside", "score", sort=False, dropna=False).reindex(outside)
        for values in ("auroc", "half_width")
    )
    n_sets, n_scores = aurocs.shape
    figure = style.new_figure(4.6 + 0.95 * n_scores, 1.9 + 0.5 * (n_sets + 1), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(4.0, 0.9 * n_scores))
    every = np.concatenate(list(costs.values()))
    bins = np.geomspace(max(every.min(), 1e-3), every.max(), _BINS + 1)  # some sets are at thousands
    for i, (name, values) in enumerate(costs.items()):
        counts, _ = np.histogram(values, bins)
        tops = i + 0.42 - 0.84 * counts / counts.max()
        color = style.COLORS[0] if name == own else style.COLORS[1]
        left.fill_between(bins[:-1], i + 0.42, tops, step="post", color=color, linewidth=0.6)
    left.axvline(float(np.mean(costs[own])), color=style.GREY, linestyle=":", linewidth=1)
    names = style.drawable(list(costs))
    left.set_yticks(range(len(costs)), [f"{names[0]}\n(the model's own)", *names[1:]])
    left.set(xscale="log", xlabel=f"−ELBO ({unit})", title="how likely they are")
    left.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if bins[-1] < 100 * bins[0] else (1,)))
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    left.xaxis.set_minor_formatter(NullFormatter())
    right.imshow(
        np.vstack([np.full(n_scores, np.nan), aurocs.to_numpy()]), cmap="RdBu", vmin=0, vmax=1, aspect="auto"
    )
    for (row, column), value in np.ndenumerate(aurocs.to_numpy()):
        color = "white" if abs(value - 0.5) > 0.35 else "black"
        half = halves.iloc[row, column]
        text = f"{value:.3f}" + (f"\n±{half:.3f}" if np.isfinite(half) else "")  # of one image there is none
        right.text(column, row + 1, text, ha="center", va="center", fontsize=8, color=color)
    right.set_xticks(
        range(n_scores), ["\n".join(score.rsplit(" ", 1)) for score in aurocs.columns], fontsize=8
    )
    right.tick_params(length=0, labelleft=False)
    over = table["over"].iloc[0]
    right.set(title=f"AUROC of scores, ± a 95 % interval over {over}")
    right.grid(visible=False)
    left.grid(axis="y", visible=False)
    left.set_ylim(len(costs) - 0.5, -0.5)
    style.set_head(figure, title)
    return figure
