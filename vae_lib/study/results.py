"""Results: the tidy table of a study, a row per run and measure, read from what the runs left."""

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from vae_lib.config import EvaluationConfig, TrainConfig
from vae_lib.evaluation.metric_table import MEASURES
from vae_lib.training.run import Run
from vae_lib.utils.errors import InputError

FIELDS = [field.name for field in dataclasses.fields(TrainConfig)]
_OF_A_RUN = ["run", *FIELDS, "source", "status", "error", "parameters", "seconds"]
_OF_A_MEASURE = ["split", "measure", "of", "value", "half_width", "n", "note"]


def scorecard_path(run: Run) -> Path:
    """Return where a study keeps every measure of a run."""
    return run.directory / "scorecard.json"


def is_complete(run: Run, protocol: EvaluationConfig | None) -> bool:
    """Whether a run has diverged, or is finished and was scored under this protocol (None: not at all)."""
    if not run.is_done:
        return False
    return run.metrics["status"] == "diverged" or protocol is None or _scores(run, protocol) is not None


def rows_of(run: Run, protocol: EvaluationConfig | None) -> list[dict]:
    """Return the rows of the table of a complete run; one that diverged has a row without a measure."""
    facts = {**run.config.to_dict(), "run": run.name, "source": run.data["source"]}
    facts |= {"status": run.metrics["status"], "seconds": run.record["seconds"]}
    if run.metrics["status"] == "diverged":
        return [{**facts, "error": f"run {run.name} diverged in epoch {run.metrics['epoch']}"}]
    facts["parameters"] = run.metrics["parameters"]
    measures = [*_at_the_end(run.metrics), *(_scores(run, protocol) or ())]
    return [{**facts, **measure} for measure in measures]


def _at_the_end(metrics: dict) -> list[dict]:
    """Return a row for each score that training ends with, of validation and test images."""
    return [
        {
            "split": split,
            "measure": measure,
            "of": "images",
            "value": metrics[f"{split}_{measure}"],
            "n": metrics[f"{split}_n"],
        }
        for split, measure in itertools.product(("val", "test"), MEASURES)
        if metrics.get(f"{split}_{measure}") is not None
    ]


def _scores(run: Run, protocol: EvaluationConfig | None) -> list[dict] | None:
    """Return a row for each measure of the scorecard; None where there is none of this protocol."""
    path = scorecard_path(run)
    if protocol is None or not path.exists():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None  # taken anew
    if not isinstance(kept, dict) or kept.get("protocol") != protocol.to_dict() or "rows" not in kept:
        return None
    names = ("measure", "of", "value", "half_width", "n", "note")
    rows = [row for row in kept["rows"] if row["value"] is not None]
    return [{"split": "test", **{name: row[name] for name in names}} for row in rows]


def as_table(rows: list[dict]) -> pd.DataFrame:
    """Return rows as a frame, with the unit of each measure and which way is better."""
    table = pd.DataFrame(rows).reindex(columns=[*_OF_A_RUN, *_OF_A_MEASURE])
    units = {measure: unit for measure, (unit, _) in MEASURES.items()}
    better = {measure: which for measure, (_, which) in MEASURES.items()}
    return table.assign(unit=table["measure"].map(units), better=table["measure"].map(better))


def sort_configs(configs: Iterable[TrainConfig]) -> list[TrainConfig]:
    """Return each config once, sorted by every field in turn; None comes first."""
    return sorted(set(configs), key=lambda c: [(value is not None, value) for value in c.to_dict().values()])


def finished_runs(models_dir: Path | str) -> dict[TrainConfig, Run]:
    """Return the finished run of each config; of two of a config, on other data, the newer one counts."""
    found: dict[TrainConfig, Run] = {}
    for path in sorted(Path(models_dir).glob("*/record.json"), key=lambda path: path.stat().st_mtime_ns):
        run = Run(path.parent)
        with contextlib.suppress(InputError):  # damaged, or of another version: as if not there
            if run.is_done:
                found[run.config] = run
    return found


def read_results(
    configs: Iterable[TrainConfig], models_dir: Path | str, protocol: EvaluationConfig | None = None
) -> pd.DataFrame:
    """Return the table of the runs that are there, without their images and without computing anything.

    Args:
        configs: Whose runs to read, as `finished_runs` finds them.
        models_dir: Where the runs are kept.
        protocol: Of the scorecard; None takes the scores of the training's end alone.

    Raises:
        InputError: If not one of the runs is there.
    """
    found = finished_runs(models_dir)
    chosen = [found[config] for config in sort_configs(configs) if config in found]
    if not chosen:
        raise InputError(f"there is no run of this study in {models_dir}: `study` computes them")
    return as_table([row for run in chosen for row in rows_of(run, protocol)])


def by_run(table: pd.DataFrame, configs: Sequence[TrainConfig] | None = None) -> pd.DataFrame:
    """Turn a row per run and measure into a row per run.

    Args:
        table: As `run_study` or `read_results` returns it.
        configs: Whose runs to keep, in their order; None keeps all, in the order of the table.

    Returns:
        Columns: those of a run, then `val_<measure>` and `test_<measure>`, with `_of_<what>` behind it where
        the scorecard measures several; samples from the prior that a run was trained with, N(0, I) or a
        learned one, are those of its `own prior`. Runs without scores are left out.
    """
    table = table[table["status"] == "finished"]
    plain = table["of"].isin(("images", "z_mean"))
    of = table["of"].str.replace(r", (N\(0, I\)|learned prior)$", ", own prior", regex=True)
    names = table["split"] + "_" + table["measure"] + ("_of_" + of).where(~plain, "")
    first = table.drop_duplicates("run").set_index("run")[_OF_A_RUN[1:]]
    values = table.assign(name=names)  # Fréchet distances come first at the largest n
    wide = values.pivot_table(index="run", columns="name", values="value", aggfunc="first", sort=False)
    runs = first.join(wide).reset_index()
    if configs is None:
        return runs
    places = {tuple(config.to_dict().values()): i for i, config in enumerate(configs)}
    fields = runs[FIELDS].astype(object).where(runs[FIELDS].notna(), None).itertuples(index=False, name=None)
    runs = runs.assign(place=[places.get(row) for row in fields]).dropna(subset=["place"])
    return runs.sort_values("place", ignore_index=True).drop(columns="place")
