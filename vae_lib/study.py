"""A study: many runs of a grid of configs, and one tidy table of their scores.

A finished run is found by its name, so a study that was stopped is resumed by running it again. Any backend
of joblib will do: processes here, or those of a cluster (`joblib.parallel_config("dask")`).
"""

import dataclasses
import itertools
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import joblib
import pandas as pd

from vae_lib.atomic import write_json
from vae_lib.config import TrainConfig
from vae_lib.data import ImageDataset, load_dataset, load_or_stand_in
from vae_lib.errors import InputError
from vae_lib.measures import MEASURES, records
from vae_lib.protocol import Protocol
from vae_lib.runs import Run
from vae_lib.startup import start_tensorflow

FIELDS = [field.name for field in dataclasses.fields(TrainConfig)]
_OF_A_RUN = ["run", *FIELDS, "source", "status", "error", "parameters", "seconds"]
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Places:
    """Where a cell finds its images and leaves its run, and whether a stand-in will do."""

    data_dir: str
    models_dir: str
    stand_ins: bool

    def load(self, name: str, image_size: int | None) -> ImageDataset:
        """Return a data set, or its embedded stand-in where that is allowed."""
        if self.stand_ins:
            return load_or_stand_in(name, self.data_dir)
        return load_dataset(name, self.data_dir, image_size=image_size)


def grid(base: TrainConfig, **axes) -> list[TrainConfig]:
    """Return a config for every combination of the values of some fields.

    Args:
        base: Every other field.
        axes: Field name -> values, such as `latent_dim=(2, 8, 32), seed=range(3)`.
    """
    combinations = itertools.product(*axes.values())
    return [dataclasses.replace(base, **dict(zip(axes, values, strict=True))) for values in combinations]


def shard(configs: list[TrainConfig], number: int, of: int) -> list[TrainConfig]:
    """Return the `number`-th of so many disjoint parts of a study, counted from 1, for a job array.

    Raises:
        InputError: If there is no such part.
    """
    if not 1 <= number <= of:
        raise InputError(f"shard must be from 1/{of} to {of}/{of}; received {number}/{of}")
    return list(dict.fromkeys(configs))[number - 1 :: of]


def run_cell(config: TrainConfig, places: Places, protocol: Protocol | None, threads: int) -> list[dict]:
    """Train one config, or find it done; return its rows of the table. What fails is a row, not an error.

    Args:
        config: What to train.
        places: Where.
        protocol: Of the scorecard; None takes the scores of the training's end alone.
        threads: Processor threads. A study's numbers depend on them.
    """
    start_tensorflow(threads)
    from vae_lib.training import DivergenceError, train

    facts = {**config.to_dict(), "status": "failed"}
    try:
        data = places.load(config.dataset, config.image_size)
        facts["source"] = data.source
        run = train(config, data, models_dir=places.models_dir, verbose=0)
        measures = _at_the_end(run.metrics) + _beyond(run, data, places.models_dir, protocol)
    except DivergenceError as error:
        return [{**facts, "status": "diverged", "error": str(error)}]
    except (InputError, OSError) as error:
        return [{**facts, "error": str(error)}]
    facts |= {"run": run.name, "status": "finished"}
    facts |= {"parameters": run.metrics["parameters"], "seconds": run.record["seconds"]}
    return [{**facts, **measure} for measure in measures]


def _at_the_end(metrics: dict) -> list[dict]:
    """Return a row for each score that training ends with, of validation and test images."""
    rows = []
    for split, measure in itertools.product(("val", "test"), MEASURES):
        value = metrics.get(f"{split}_{measure}")
        if value is not None:
            rows.append({"split": split, "measure": measure, "of": "images", "value": value})
            rows[-1]["n"] = metrics[f"{split}_n"]
    return rows


def _beyond(run: Run, data: ImageDataset, models_dir: str, protocol: Protocol | None) -> list[dict]:
    """Return a row for each measure of the scorecard, which is computed once and kept in the run."""
    if protocol is None:
        return []
    path = run.directory / "scorecard.json"
    asked = json.loads(json.dumps(dataclasses.asdict(protocol)))
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if kept.get("protocol") != asked:
        from vae_lib.classifier import has_classes, load_classifier
        from vae_lib.scorecard import scorecard

        classifier = load_classifier(data, models_dir) if has_classes(data) else None
        own = data.subset(n_train=run.config.n_train)
        kept = {"protocol": asked, "rows": records(scorecard(run.model(), own, classifier, protocol))}
        write_json(path, kept)
    columns = ("measure", "of", "value", "half_width", "n")
    rows = [row for row in kept["rows"] if row["value"] is not None]
    return [{"split": "test", **{name: row[name] for name in columns}} for row in rows]


def run_study(
    configs: list[TrainConfig],
    *,
    n_jobs: int = 1,
    protocol: Protocol | None = None,
    data_dir: Path | str = "data",
    models_dir: Path | str = "models",
    stand_ins: bool = False,
    tell: Callable[[str], None] = _logger.info,
) -> pd.DataFrame:
    """Train and score every config that has not been yet; return a row per run and measure.

    Args:
        configs: What to train, such as `grid(...)`; one that is given twice is trained once.
        n_jobs: Worker processes, each on one thread: two of them do more than one on two threads.
        protocol: Of the scorecard of each run; None takes the scores of the training's end alone.
        data_dir: Where `load_dataset` looks first.
        models_dir: Where the runs are kept.
        stand_ins: Take an embedded data set where the real one cannot be had; `source` says so.
        tell: Called with a line when a cell is done: how many are, and the time left.

    Returns:
        Columns: `run`, the config's fields, `source`, `status` ("finished", "diverged" or "failed"), `error`,
        `parameters`, `seconds` of training; `split`, `measure`, `of`, `value`, `half_width` (95 % over
        evaluation seeds), `n` images, `unit`, `better`. Rows are in an order of their own, whatever that of
        the configs and however many worked.
    """
    configs = sorted(set(configs), key=_order)
    places = Places(str(data_dir), str(models_dir), stand_ins)
    for name, size in dict.fromkeys((config.dataset, config.image_size) for config in configs):
        tell(f"loading {name}")
        _prepare(places, name, size, protocol)
    calls = (joblib.delayed(_numbered)(i, config, places, protocol) for i, config in enumerate(configs))
    rows: dict[int, list[dict]] = {}
    began = time.monotonic()
    for i, cell in joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(calls):
        rows[i] = cell
        left = (time.monotonic() - began) / len(rows) * (len(configs) - len(rows))
        name = cell[0].get("run") or cell[0]["error"]
        tell(f"{len(rows)} of {len(configs)}: {cell[0]['status']} {name}; about {_duration(left)} left")
    return _as_table([row for i in range(len(configs)) for row in rows[i]])


def _prepare(places: Places, name: str, image_size: int | None, protocol: Protocol | None) -> None:
    """Load a data set, and its classifier, once before the workers do: they then find both on the disk."""
    try:
        data = places.load(name, image_size)
    except InputError:
        return  # its cells say so
    if protocol is not None:
        from vae_lib.classifier import has_classes, load_classifier

        if has_classes(data):
            load_classifier(data, places.models_dir)


def _numbered(i: int, config: TrainConfig, places: Places, protocol: Protocol | None):
    return i, run_cell(config, places, protocol, 1)


def _order(config: TrainConfig) -> list:
    """Sort by every field in turn; None comes first."""
    return [(value is not None, value) for value in config.to_dict().values()]


def _as_table(rows: list[dict]) -> pd.DataFrame:
    columns = [*_OF_A_RUN, "split", "measure", "of", "value", "half_width", "n"]
    table = pd.DataFrame(rows).reindex(columns=columns)
    units = {measure: unit for measure, (unit, _) in MEASURES.items()}
    better = {measure: which for measure, (_, which) in MEASURES.items()}
    return table.assign(unit=table["measure"].map(units), better=table["measure"].map(better))


def by_run(table: pd.DataFrame, configs: Sequence[TrainConfig] | None = None) -> pd.DataFrame:
    """Turn a row per run and measure into a row per run.

    Args:
        table: As `run_study` returns it.
        configs: Whose runs to keep, in their order; None keeps all, in the order of the table.

    Returns:
        Columns: those of a run, then `val_<measure>` and `test_<measure>`, with `_of_<what>` behind it where
        the scorecard measures several. Runs without scores are left out.
    """
    table = table[table["status"] == "finished"]
    plain = table["of"].isin(("images", "z_mean"))
    names = table["split"] + "_" + table["measure"] + ("_of_" + table["of"]).where(~plain, "")
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


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
