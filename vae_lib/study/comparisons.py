"""Findings: a study's cells with intervals over seeds, and which differences exceed the noise of seeds."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from vae_lib.metrics.intervals import mean_interval, paired_difference


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


def compare_adjacent(
    runs: pd.DataFrame, axis: str, measures: list[str], within: str = "dataset"
) -> pd.DataFrame:
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


@dataclass(frozen=True)
class Change:
    """What becomes of a measure between two settings, over pairs of runs that share a seed.

    Attributes:
        start: Mean at the first setting.
        end: Mean at the second.
        difference: Mean of second less first.
        half_width: Of its 95 % interval; NaN for a single seed.
    """

    start: float
    end: float
    difference: float
    half_width: float

    @property
    def direction(self) -> int:
        """1 or -1 where the difference exceeds the noise of seeds, else 0."""
        return 0 if not abs(self.difference) > self.half_width else int(math.copysign(1, self.difference))

    def as_text(self, unit: str, digits: int = 1) -> str:
        """Return `a to b unit (by +d ± h)`."""
        change = f"{self.difference:+.{digits}f} ± {self.half_width:.{digits}f}"
        return " ".join(
            filter(None, [f"{self.start:.{digits}f} to {self.end:.{digits}f}", unit, f"({change})"])
        )


def compare_cells(start: pd.DataFrame, end: pd.DataFrame, measure: str) -> Change:
    """Compare a measure of two cells, each a row per run, over the seeds that both have."""
    pair = [cell.set_index("seed")[measure].astype(float) for cell in (start, end)]
    seeds = pair[0].index.intersection(pair[1].index)
    before, after = (values.loc[seeds] for values in pair)
    return Change(before.mean(), after.mean(), *paired_difference(after, before))


def compare_settings(runs: pd.DataFrame, setting: str, start, end, measure: str) -> Change:
    """Compare a measure at two values of a setting, over the seeds that both have.

    Args:
        runs: A row per run, which differ in the setting and the seed only.
        setting: The column, such as `beta`.
        start: Its first value.
        end: Its second value.
        measure: The column that is compared.
    """
    cells = (runs[runs[setting] == value] for value in (start, end))
    return compare_cells(*cells, measure)


def interval_table(
    runs: pd.DataFrame, settings: list[str], measures: Mapping[str, tuple[str, int]]
) -> pd.DataFrame:
    """Return a row per cell and a column per measure, each `mean ± half-width` over seeds as text.

    Args:
        runs: A row per run, as `results.by_run` gives them.
        settings: Columns whose values make a cell.
        measures: Column -> heading and digits; what no run has is left out.
    """
    measures = {name: named for name, named in measures.items() if name in runs and runs[name].notna().any()}
    means = cell_means(runs, settings, list(measures))
    digits = [measures[name][1] for name in means["measure"]]
    cells = zip(means["mean"], means["half_width"], digits, strict=True)
    means["text"] = [_with_half_width(*cell) for cell in cells]
    table = means.pivot_table(index=settings, columns="measure", values="text", aggfunc="first")
    table = table.fillna("\N{EN DASH}")
    return table[list(measures)].rename(columns={name: heading for name, (heading, _) in measures.items()})


def _with_half_width(mean: float, half_width: float, digits: int) -> str:
    """Return `mean ± half-width` held on one line by no-break spaces; the mean alone for a single seed."""
    half = "" if math.isnan(half_width) else f"\N{NBSP}±\N{NBSP}{half_width:,.{digits}f}"
    return f"{mean:,.{digits}f}{half}"


@dataclass(frozen=True)
class Finding:
    """A claim about VAEs, whether these runs bear it out, and what was measured.

    Attributes:
        claim: As it is often told.
        verdict: "confirmed" where every difference has the sign that the claim gives it and exceeds the
            noise of seeds, "contradicted" where all have the other sign, "unresolved" where none exceeds the
            noise, else "in part".
        measured: A line for each difference, with its 95 % interval over seeds.
    """

    claim: str
    verdict: str
    measured: tuple[str, ...]


def finding(claim: str, changes: list[tuple[str, Change, int, str, int]]) -> Finding:
    """Judge a claim by differences.

    Args:
        claim: What is told.
        changes: For each difference: of what, the change, the sign it should have (0: told, not judged),
            unit, digits.
    """
    agreed = [change.direction * sign for _, change, sign, _, _ in changes if sign]
    words = {1: "confirmed", -1: "contradicted", 0: "unresolved"}
    verdict = words[agreed[0]] if len(set(agreed)) == 1 else "in part"
    told = tuple(f"{what} {change.as_text(unit, digits)}" for what, change, _, unit, digits in changes)
    return Finding(claim, verdict, told)


def as_markdown(findings: list[Finding]) -> str:
    """Return a Markdown table, a row per claim."""
    rows = [f"| {found.claim} | {found.verdict} | {'<br>'.join(found.measured)} |" for found in findings]
    return "\n".join(["| what is told of VAEs | verdict | measured |", "|---|---|---|", *rows])
