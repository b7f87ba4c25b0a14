"""Results: the tidy table of a study, a row per run and score, read from what the runs left."""

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from vae_lib.config import EvaluationConfig, TrainConfig
from vae_lib.data.dataset import title_of
from vae_lib.evaluation.metric_table import records, training_scores
from vae_lib.metrics.registry import METRICS, column
from vae_lib.study.grids import Comparison, sort_configs
from vae_lib.training.run import Run
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import write_json

FIELDS = [field.name for field in dataclasses.fields(TrainConfig)]
_OF_A_RUN = ["run", *FIELDS, "source", "status", "error", "parameters", "seconds"]
_OF_A_SCORE = ["score", "metric", "target", "value", "half_width", "n", "note"]


def write_scorecard(run: Run, table: pd.DataFrame, evaluation: EvaluationConfig) -> None:
    """Keep a scorecard beside the run that it is of."""
    content = {"evaluation": evaluation.to_dict(), "scores": records(table)}
    write_json(run.directory / "scorecard.json", content)


def _read_scorecard(run: Run, evaluation: EvaluationConfig | None) -> list[dict] | None:
    """Return a row for each score that has a value; None where there is no scorecard under this config."""
    if evaluation is None:
        return None
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):  # damaged: computed again
        kept = json.loads((run.directory / "scorecard.json").read_text(encoding="utf-8"))
        if kept["evaluation"] == evaluation.to_dict():
            return [score for score in kept["scores"] if score["value"] is not None]
    return None


def is_complete(run: Run, evaluation: EvaluationConfig | None) -> bool:
    """Whether a run has diverged, or is finished and was scored under this config (None: not at all)."""
    scored = evaluation is None or _read_scorecard(run, evaluation) is not None
    return run.is_done and (scored or run.metrics["status"] == "diverged")


def rows_of(run: Run, evaluation: EvaluationConfig | None) -> list[dict]:
    """Return the rows of the table of a complete run; one that diverged has a row without a score."""
    facts = {**run.config.to_dict(), "run": run.name, "source": run.data["source"]}
    facts |= {"status": run.metrics["status"], "seconds": run.record["seconds"]}
    if run.metrics["status"] == "diverged":
        return [{**facts, "error": f"run {run.name} diverged in epoch {run.metrics['epoch']}"}]
    facts["parameters"] = run.metrics["parameters"]
    scores = [*training_scores(run.metrics), *(_read_scorecard(run, evaluation) or [])]
    for score in scores:  # under its column's name, since `prior` is a field of the config here
        score["score"] = column(score["metric"], score["target"], score["prior"])
    return [facts | {field: score.get(field) for field in _OF_A_SCORE} for score in scores]


def results_table(rows: Iterable[dict]) -> pd.DataFrame:
    """Return rows as a frame, with the unit of each metric and which direction is better."""
    table = pd.DataFrame(rows).reindex(columns=[*_OF_A_RUN, *_OF_A_SCORE])
    for field in ("unit", "direction"):
        table[field] = table["metric"].map({name: getattr(metric, field) for name, metric in METRICS.items()})
    return table


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
    configs: Iterable[TrainConfig], models_dir: Path | str, evaluation: EvaluationConfig | None = None
) -> pd.DataFrame:
    """Return the table of the runs that are there, without their images and without computing anything.

    Args:
        configs: Whose runs to read, as `finished_runs` finds them.
        models_dir: Where the runs are kept.
        evaluation: Of the scorecard; None takes the scores of the training's end alone.

    Raises:
        InputError: If not one of the runs is there.
    """
    found = finished_runs(models_dir)
    chosen = [found[config] for config in sort_configs(configs) if config in found]
    if not chosen:
        raise InputError(f"there is no run of this study in {models_dir}: `study` computes them")
    return results_table(row for run in chosen for row in rows_of(run, evaluation))


def runs_by_comparison(table: pd.DataFrame, comparisons: Mapping[str, Comparison]) -> dict[str, pd.DataFrame]:
    """Return what `by_run` makes of the table for each comparison, such as those of a preset."""
    return {name: by_run(table, comparison.configs) for name, comparison in comparisons.items()}


def by_run(table: pd.DataFrame, configs: Sequence[TrainConfig] | None = None) -> pd.DataFrame:
    """Turn a row per run and score into a row per run.

    Args:
        table: As `run_study` or `read_results` returns it.
        configs: Whose runs to keep, in their order; None keeps all, in the order of the table.

    Returns:
        Columns: those of a run; `data set`, its title; and a column for each score, named by
        `registry.column`: `bits_per_dim_test` at the end of training, `frechet_distance_sample_mixture` of
        the scorecard. Runs without scores are left out.
    """
    table = table[table["status"] == "finished"]
    facts = table.drop_duplicates("run").set_index("run")[_OF_A_RUN[1:]]
    facts["data set"] = facts["dataset"].map(title_of)
    # Fréchet distances come first at the largest n.
    wide = table.pivot_table(index="run", columns="score", values="value", aggfunc="first", sort=False)
    runs = facts.join(wide).reset_index()
    if configs is None:
        return runs
    positions = {_key(config.to_dict().values()): i for i, config in enumerate(configs)}
    fields = runs[FIELDS].astype(object).where(runs[FIELDS].notna(), None).itertuples(index=False, name=None)
    runs = runs.assign(position=[positions.get(_key(row)) for row in fields]).dropna(subset=["position"])
    return runs.sort_values("position", ignore_index=True).drop(columns="position")


def _key(values: Iterable) -> tuple:
    """Return the values of a config as a key, which a list, as of scale_blocks, cannot be."""
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)
