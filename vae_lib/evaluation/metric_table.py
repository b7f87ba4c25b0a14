"""Measures: the unit of each, which way is better, and one table of them with what was left out and why."""

import math
from collections.abc import Callable, Mapping

import pandas as pd

from vae_lib.metrics.intervals import mean_interval

HIGHER, LOWER, NEITHER = "higher", "lower", "none"
MEASURES = {
    "elbo": ("nats/image", HIGHER),
    "elbo_standard_error": ("nats/image", NEITHER),
    "iwae": ("nats/image", HIGHER),
    "bits_per_dim": ("bits/dim", LOWER),
    "rate": ("nats/image", LOWER),
    "distortion": ("nats/image", LOWER),
    "mse": ("grey levels squared", LOWER),
    "psnr": ("dB", HIGHER),
    "active_units": ("latents", NEITHER),
    "collapsed_latents": ("latents", NEITHER),
    "mutual_information": ("nats", NEITHER),
    "mutual_information_cap": ("nats", NEITHER),
    "marginal_kl": ("nats", LOWER),
    "total_correlation": ("nats", LOWER),
    "dimension_wise_kl": ("nats", LOWER),
    "frechet_distance": ("feature units squared", LOWER),
    "kernel_distance": ("kernel units", LOWER),
    "precision": ("share", HIGHER),
    "recall": ("share", HIGHER),
    "copied_share": ("share", LOWER),
    "mixture_components": ("components", NEITHER),
    "classifier_accuracy": ("share", HIGHER),
    "within_class_diversity": ("ratio to real", NEITHER),
    "largest_class_share": ("share", NEITHER),
    "knn_accuracy": ("share", HIGHER),
    "linear_probe_accuracy": ("share", HIGHER),
    "trustworthiness": ("share", HIGHER),
    "mig": ("share", HIGHER),
    "sap": ("share", HIGHER),
    "dci_disentanglement": ("share", HIGHER),
    "dci_completeness": ("share", HIGHER),
    "dci_informativeness": ("share", HIGHER),
    "factor_vae_score": ("share", HIGHER),
}


class MeasureTable:
    """Rows of measures in the order they were taken, a group of them at a time."""

    def __init__(self) -> None:
        self._rows: list[dict] = []
        self._group = ""

    def begin(self, group: str) -> None:
        """Name the group of the rows that follow."""
        self._group = group

    def take(
        self,
        names: tuple[str, ...],
        of: str,
        n: int,
        compute: Callable[..., Mapping[str, float]],
        seeds: tuple[int, ...] = (),
        note: str = "",
    ) -> None:
        """Compute measures and add a row for each.

        Args:
            names: Keys of `MEASURES`; compute gives a value for each.
            of: What is measured, such as "test images" or "reconstructions".
            n: Images behind each value.
            compute: Called with each seed, or once with nothing where there are no seeds.
            seeds: Seeds of the evaluation's own noise; the half-width is over these.
            note: What a reader must know beside the value.

        A ValueError of the computation, such as of a set too small, becomes the reason it is left out.
        """
        try:
            draws = [compute(seed) for seed in seeds] if seeds else [compute()]
        except ValueError as error:
            self.leave_out(", ".join(names), of, str(error).strip().splitlines()[0])
            return
        for name in names:
            value, half_width = _interval([float(draw[name]) for draw in draws])
            if math.isfinite(value):
                self._add(name, of, value, half_width, n, note)
            else:
                self.leave_out(name, of, f"its value is {value}")

    def put(self, name: str, of: str, n: int, value: float, note: str = "") -> None:
        """Add a row for a value that holds no noise and is known already; arguments as for `take`."""
        self.take((name,), of, n, lambda: {name: value}, (), note)

    def leave_out(self, measure: str, of: str, reason: str) -> None:
        """Add a row without a value that says what is missing, and why."""
        self._add(measure, of, math.nan, math.nan, 0, f"left out: {reason}")

    def _add(self, measure: str, of: str, value: float, half_width: float, n: int, note: str) -> None:
        unit, better = MEASURES.get(measure, ("", NEITHER))
        row = {"group": self._group, "measure": measure, "of": of, "value": value, "half_width": half_width}
        self._rows.append({**row, "unit": unit, "better": better, "n": n, "note": note})

    def frame(self) -> pd.DataFrame:
        """Return the rows as a frame."""
        return pd.DataFrame(self._rows)


def _interval(values: list[float]) -> tuple[float, float]:
    """Return the mean over seeds and its half-width: NaN for one value, and 0 where all are the same."""
    if len(values) > 1 and len(set(values)) == 1:
        return values[0], 0.0
    return mean_interval(values)


def records(table: pd.DataFrame) -> list[dict]:
    """Return a table's rows as JSON-able dicts, with None where there is no number."""
    return [
        {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in row.items()
        }
        for row in table.to_dict("records")
    ]


def as_text(table: pd.DataFrame) -> str:
    """Return a table of measures as lines: value and 95 % half-width, unit, which way is better, n, note."""
    lines = []
    for group, rows in table.groupby("group", sort=False):
        lines += ["", str(group)]
        lines += [_line(row) for row in rows.to_dict("records")]
    return "\n".join(lines[1:])


def _line(row: dict) -> str:
    if math.isnan(row["value"]):
        return f"  {row['measure']}, {row['of']}: {row['note']}"
    half_width = "" if math.isnan(row["half_width"]) else f"± {row['half_width']:.2g}"
    better = "" if row["better"] == NEITHER else f" ({row['better']} is better)"
    note = f"; {row['note']}" if row["note"] else ""
    return (
        f"  {row['measure']:<24}{row['of']:<40}{as_number(row['value']):>10} {half_width:<10}"
        f"{row['unit']}{better}, n {row['n']:,}{note}"
    )


def as_number(value: float) -> str:
    """Return a number with three decimals, or four digits where that would say nothing."""
    if value and abs(value) < 0.1:
        return f"{value:.3g}"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}"
