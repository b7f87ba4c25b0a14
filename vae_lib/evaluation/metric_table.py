"""Scores as rows, and the table that they make: mean and interval over evaluation seeds, one row a score."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from vae_lib.metrics.intervals import mean_interval
from vae_lib.metrics.registry import METRICS, NEITHER, PRIORS, TARGETS, column

# What identifies a score; Fréchet distances are taken at several n.
SCORE = ["metric", "target", "prior", "n"]
Rows = Iterator[dict]  # as `row` returns them


def row(
    metric: str,
    value: float,
    n: int,
    target: str = "",
    prior: str = "",
    seed: int | None = None,
    note: str = "",
) -> dict:
    """Return one value of one score.

    Args:
        metric: One of `METRICS`.
        value: In the metric's unit.
        n: Images behind it.
        target: One of `TARGETS`; empty for the metric's own.
        prior: One of `PRIORS`, or empty where no prior plays a part.
        seed: Of the evaluation's noise or choice of images; None for a value that holds neither.
        note: What a reader must know beside the value.
    """
    target, score = target or METRICS[metric].target, {"value": float(value), "n": n}
    return {"metric": metric, "target": target, "prior": prior, "seed": seed, **score, "note": note}


def missing(metrics: Iterable[str], reason: str, target: str = "", prior: str = "") -> list[dict]:
    """Return a row without a value for each metric that cannot be computed, with the reason as its note."""
    note = f"left out: {reason}"
    return [row(metric, math.nan, 0, target, prior, note=note) for metric in metrics]


def score_table(rows: Iterable[Mapping]) -> pd.DataFrame:
    """Return one row a score, from one row a score and seed.

    Args:
        rows: As `row` and `missing` return them.

    Returns:
        Columns: `group`, `metric`, `target`, `prior`, `value` (mean over seeds), `half_width` (95 %; NaN
        without seeds), `unit`, `direction` ("higher" or "lower" is better, or "none"), `n`, `note`.
    """
    scores = []
    for identifiers, values in pd.DataFrame(rows).groupby(SCORE, sort=False):
        score = dict(zip(SCORE, identifiers, strict=True)) | {"note": values["note"].iloc[0]}
        if len(values) > 1 and np.ptp(values["value"]) == 0:  # then without the rounding of a mean
            score["value"], score["half_width"] = values["value"].iloc[0], 0.0
        elif np.isfinite(values["value"]).all():
            score["value"], score["half_width"] = mean_interval(values["value"])
        else:
            score["value"], score["half_width"] = values["value"].mean(), math.nan
        if not math.isfinite(score["value"]) and not score["note"]:
            score |= {"value": math.nan, "half_width": math.nan, "note": f"left out: it is {score['value']}"}
        metric = METRICS[score["metric"]]
        scores.append({"group": metric.group, "unit": metric.unit, "direction": metric.direction, **score})
    columns = ["group", *SCORE[:3], "value", "half_width", "unit", "direction", "n", "note"]
    return pd.DataFrame(scores, columns=columns)


def training_scores(metrics: Mapping, targets: Iterable[str] = ("val", "test")) -> Rows:
    """Yield a row for each score that training ends with.

    Args:
        metrics: Of a run's `metrics.json`, under their columns: `bits_per_dim_test`; and `n_test`.
        targets: Of these parts.
    """
    for target, metric in itertools.product(targets, METRICS):
        if (value := metrics.get(column(metric, target))) is not None:
            yield row(metric, value, metrics[f"n_{target}"], target)


def records(table: pd.DataFrame) -> list[dict]:
    """Return a table's rows as JSON-able dicts, with None where there is no number.

    What the registry knows of a metric is not repeated: `group`, `unit` and `direction` are left out.
    """
    kept = table[[*SCORE, "value", "half_width", "note"]]
    return kept.astype(object).where(kept.notna(), None).to_dict("records")


def as_text(table: pd.DataFrame) -> str:
    """Return a table of scores as lines: value and 95 % half-width, unit, which way is better, n, note."""
    groups = table.groupby("group", sort=False)
    return "\n\n".join("\n".join([name, *map(_line, rows.to_dict("records"))]) for name, rows in groups)


def _line(score: dict) -> str:
    what = ", ".join(filter(None, (TARGETS.get(score["target"], ""), PRIORS.get(score["prior"], ""))))
    if math.isnan(score["value"]):
        return f"  {score['metric']:<24}{what}: {score['note']}"
    half_width = "" if math.isnan(score["half_width"]) else f"± {score['half_width']:.2g}"
    better = "" if score["direction"] == NEITHER else f" ({score['direction']} is better)"
    note = f"; {score['note']}" if score["note"] else ""
    value, digits = score["value"], METRICS[score["metric"]].digits
    value = f"{value:.3g}" if 0 < abs(value) < 10.0**-digits else f"{value:,.{digits}f}"
    unit = f"{score['unit']}{better}, n {score['n']:,}{note}"
    return f"  {score['metric']:<24}{what:<36}{value:>10} {half_width:<10}{unit}"
