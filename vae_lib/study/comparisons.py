"""Comparisons of a study's cells: intervals over seeds, and which differences exceed the noise of seeds."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vae_lib.metrics.intervals import mean_interval, paired_difference
from vae_lib.metrics.registry import digits_of, label_of


def cell_means(runs: pd.DataFrame, settings: Sequence[str], scores: Sequence[str]) -> pd.DataFrame:
    """Return mean and 95 % half-width over seeds of each score in each cell.

    Args:
        runs: A row per run, as `results.by_run` returns them.
        settings: Columns whose values make a cell.
        scores: Columns to average.

    Returns:
        Columns: the settings, `score`, `mean`, `half_width` (NaN for one seed), `seeds`.
    """
    rows = []
    for values, cell in runs.groupby(list(settings), sort=True)[list(scores)]:
        for score, found in cell.items():
            if seeds := found.count():
                rows.append((*values, score, *mean_interval(found.dropna()), seeds))
    return pd.DataFrame(rows, columns=[*settings, "score", "mean", "half_width", "seeds"])


@dataclass(frozen=True)
class Difference:
    """What becomes of a score between two cells, over pairs of runs that share a seed."""

    start: float  # mean in the first cell
    end: float  # mean in the second
    difference: float  # mean of second less first
    half_width: float  # of its 95 % interval; NaN for a single seed
    seeds: int  # pairs behind it

    @property
    def direction(self) -> int:
        """1 or -1 where the difference exceeds the noise of seeds, else 0."""
        return int(np.sign(self.difference)) if abs(self.difference) > self.half_width else 0

    def as_text(self, unit: str, digits: int = 1) -> str:
        """Return `a to b unit (+d ± h)`."""
        difference = f"{self.difference:+.{digits}f} ± {self.half_width:.{digits}f}"
        ends = f"{self.start:.{digits}f} to {self.end:.{digits}f} {unit}".rstrip()
        return f"{ends} ({difference})"


def compare_cells(start: pd.DataFrame, end: pd.DataFrame, score: str) -> Difference | None:
    """Compare a score of two cells, each a row per run, over the seeds that both have; None without any."""
    pairs = start[["seed", score]].merge(end[["seed", score]], on="seed").dropna().astype(float)
    if pairs.empty:
        return None
    before, after = pairs[f"{score}_x"], pairs[f"{score}_y"]
    return Difference(before.mean(), after.mean(), *paired_difference(after, before), len(pairs))


def compare_settings(runs: pd.DataFrame, setting: str, start, end, score: str) -> Difference | None:
    """Compare a score at two values of a setting, over the seeds that both have.

    Args:
        runs: A row per run, which differ in the setting and the seed only.
        setting: The column, such as `beta`.
        start: Its first value.
        end: Its second value.
        score: The column that is compared.
    """
    return compare_cells(runs[runs[setting] == start], runs[runs[setting] == end], score)


def compare_adjacent(
    runs: pd.DataFrame, setting: str, scores: Sequence[str], within: str = "dataset"
) -> pd.DataFrame:
    """Return the difference that each step along a setting makes, in pairs that share a seed.

    Args:
        runs: A row per run; within a group, runs differ in the setting and the seed only.
        setting: The column that is swept, such as `latent_dim`; names are compared in the order they have.
        scores: Columns that are compared.
        within: Column of the groups.

    Returns:
        Columns: `within`, `setting`, `from`, `to`, `score`, `difference` (to less from), `half_width` (95 %),
        `seeds`, and `resolved`: whether the difference exceeds its half-width, so the noise of seeds; None
        for a single seed.
    """
    rows = []
    for group, members in runs.groupby(within, sort=True):
        for (start, first), (end, second) in itertools.pairwise(members.groupby(setting, sort=True)):
            for score in scores:
                if found := compare_cells(first, second, score):
                    resolved = None if math.isnan(found.half_width) else found.direction != 0
                    values = (found.difference, found.half_width, found.seeds, resolved)
                    rows.append((group, setting, start, end, score, *values))
    columns = (within, "setting", "from", "to", "score", "difference", "half_width", "seeds", "resolved")
    return pd.DataFrame(rows, columns=columns)


def interval_table(
    runs: pd.DataFrame,
    settings: Sequence[str],
    scores: Sequence[str],
    headings: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return a row per cell and a column per score, each `mean ± half-width` over seeds as text.

    Args:
        runs: A row per run, as `results.by_run` returns them.
        settings: Columns whose values make a cell.
        scores: Columns; what no run has is left out.
        headings: Of columns that the registry does not know, or under another name here.
    """
    scores = [name for name in scores if name in runs and runs[name].notna().any()]
    means = cell_means(runs, settings, scores)
    means["text"] = [_as_text(*cell) for cell in means[["score", "mean", "half_width"]].to_numpy()]
    table = means.pivot_table(index=list(settings), columns="score", values="text", aggfunc="first")
    labels = {name: label_of(name) for name in scores} | dict(headings or {})
    return table.fillna("\N{EN DASH}")[scores].rename(columns=labels)


def _as_text(score: str, mean: float, half_width: float) -> str:
    """Return `mean ± half-width` held on one line by no-break spaces; the mean alone for a single seed."""
    digits = digits_of(score, 2)
    half = "" if math.isnan(half_width) else f"\N{NBSP}±\N{NBSP}{half_width:,.{digits}f}"
    return f"{mean:,.{digits}f}{half}"
