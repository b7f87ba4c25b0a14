"""Findings: a study's cells with intervals over seeds, and which differences exceed the noise of seeds."""

import itertools
import math

import pandas as pd

from vae_lib.intervals import mean_interval, paired_difference


def cell_means(runs: pd.DataFrame, settings: list[str], measures: list[str]) -> pd.DataFrame:
    """Return mean and 95 % half-width over seeds of each measure in each cell.

    Args:
        runs: A row per run, as `results.by_run` gives them.
        settings: Columns whose values make a cell.
        measures: Columns to average.

    Returns:
        Columns: the settings, `measure`, `mean`, `half_width` (NaN for one seed), `seeds`.
    """
    rows = []
    for values, cell in runs.groupby(settings, sort=True):
        for measure in measures:
            scores = cell[measure].dropna()
            if len(scores):
                mean, half_width = mean_interval(scores)
                row = dict(zip(settings, values, strict=True))
                rows.append({**row, "measure": measure, "mean": mean, "half_width": half_width})
                rows[-1]["seeds"] = len(scores)
    return pd.DataFrame(rows)


def steps_along(runs: pd.DataFrame, axis: str, measures: list[str], within: str = "dataset") -> pd.DataFrame:
    """Return what each step along an axis changes, in pairs that share a seed.

    Args:
        runs: A row per run; within a group, runs differ in the axis and the seed only.
        axis: The column that is swept, such as `latent_dim`; names are compared in the order they have.
        measures: Columns that are compared.
        within: The column whose values are told apart.

    Returns:
        Columns: `within`, `axis`, `from`, `to`, `measure`, `difference` (to less from), `half_width` (95 %),
        `seeds`, and `resolved`: whether the difference exceeds its half-width, so the noise of seeds.
    """
    rows = []
    for group, members in runs.groupby(within, sort=True):
        by_seed = {value: cell.set_index("seed") for value, cell in members.groupby(axis, sort=True)}
        values = list(by_seed)
        for start, end in itertools.pairwise(values):
            seeds = by_seed[start].index.intersection(by_seed[end].index)
            for measure in measures:
                pair = [by_seed[value].loc[seeds, measure].astype(float) for value in (end, start)]
                if not len(seeds) or pair[0].isna().any() or pair[1].isna().any():
                    continue
                difference, half_width = paired_difference(*pair)
                resolved = None if math.isnan(half_width) else abs(difference) > half_width
                row = {within: group, "axis": axis, "from": start, "to": end, "measure": measure}
                row |= {"difference": difference, "half_width": half_width, "seeds": len(seeds)}
                rows.append({**row, "resolved": resolved})
    return pd.DataFrame(rows)
