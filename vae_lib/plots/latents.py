"""What each latent carries: its rate, and its information about known factors."""

from collections.abc import Sequence

import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from vae_lib.plots import style


@style.figure_style()
def plot_rate_per_dim(
    rate_per_dim: np.ndarray, *, threshold: float = 0.01, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Draw the rate of each latent, largest first; active latents in colour, collapsed ones in grey.

    Args:
        rate_per_dim: Mean KL of each latent from the prior in nats, shape (latent_dim,).
        threshold: Rate in nats above which a latent counts as active.
        ax: Axes to draw on.
        title: Title.
    """
    ax = style.axes_or_new(ax, 8, 3.4, title)
    rates = np.asarray(rate_per_dim, dtype=float)
    order = np.argsort(-rates, kind="stable")
    active = rates[order] > threshold
    colors = np.where(active, style.COLORS[0], "#c4c4c4")
    ax.bar(np.arange(rates.size), rates[order], color=colors, width=0.8)
    ax.axhline(threshold, color=style.GREY, linestyle=":", linewidth=1)
    step = -(-rates.size // 32)
    ax.set_xticks(np.arange(0, rates.size, step), [f"z{dim}" for dim in order[::step]])
    ax.tick_params(axis="x", labelsize=8, rotation=90 if rates.size > 20 else 0, length=0)
    ax.grid(axis="x", visible=False)
    every = f" (one name in {step})" if step > 1 else ""
    ax.set(xlabel=f"latent, by rate{every}", ylabel="rate (nats per image)")
    ax.set_xlim(-0.7, rates.size - 0.3)
    counts = f"{active.sum()} active (rate > {threshold:g} nats)", f"{(~active).sum()} collapsed"
    handles = [Patch(color=style.COLORS[0], label=counts[0]), Patch(color="#c4c4c4", label=counts[1])]
    ax.legend(handles=handles, loc="upper right", title=f"{rates.sum():.1f} nats in all", alignment="left")
    return ax


@style.figure_style()
def plot_factor_matrix(
    matrix: np.ndarray,
    factor_names: Sequence[str],
    *,
    dims: Sequence[int] | None = None,
    label: str = "importance",
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw how much each latent says about each factor: DCI importances or mutual information.

    Args:
        matrix: Non-negative values, shape (latent_dim, n_factors).
        factor_names: Name of each factor.
        dims: Index of the latent in each row; 0, 1, ... where left out.
        label: What the numbers are, with their unit.
        ax: Axes to draw on.
        title: Title.
    """
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim != 2 or matrix.shape[1] != len(factor_names):
        raise ValueError(f"matrix has shape {matrix.shape}; give (latent_dim, {len(factor_names)} factors)")
    rows, columns = matrix.shape
    ax = style.axes_or_new(ax, 2.6 + 0.75 * columns, 1.4 + 0.3 * rows, title)
    top = matrix.max() or 1.0
    names = [f"z{dim}" for dim in (range(rows) if dims is None else dims)]
    seaborn.heatmap(
        matrix,
        **dict(ax=ax, cmap="Blues", vmin=0, vmax=top, xticklabels=list(factor_names), yticklabels=names),
        **dict(annot=rows <= 32, fmt=".2f", annot_kws={"size": 8}, cbar_kws={"label": label, "shrink": 0.9}),
    )
    ax.tick_params(length=0, rotation=0)
    ax.set(xlabel="factor", ylabel="latent")
    return ax
