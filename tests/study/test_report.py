"""The report of a study: what it compares, what it leaves alone, and what it says that the runs cost."""

import itertools

import pandas as pd
import pytest

from vae_lib.study.grids import comparisons
from vae_lib.study.report import write_report
from vae_lib.study.results import as_table

TOLD = {
    ("bits_per_dim", "images"): 3.5,
    ("elbo", "images"): -1900.0,
    ("distortion", "images"): 1860.0,
    ("rate", "images"): 40.0,
    ("knn_accuracy", "z_mean"): 0.8,
    ("frechet_distance", "decoder means, N(0, I)"): 20.0,
}


@pytest.fixture
def table():
    """Every comparison of three small cells of the preset `full`, with scores that rise by 1 % a cell."""
    configs = comparisons("full")
    chosen = {config for name in ("data_set", "likelihood") for config in configs[name] if config.seed < 2}
    rows = []
    for i, config in enumerate(sorted(chosen, key=str)):
        facts = dict(run=f"run-{i}", source="elsewhere", status="finished", seconds=60.0, parameters=9)
        for (measure, of), value in TOLD.items():
            if not (config.likelihood == "bernoulli" and measure == "bits_per_dim"):
                score = dict(split="test", measure=measure, of=of, value=value * (1 + i / 100), n=10)
                rows.append({**config.to_dict(), **facts, **score})
    return as_table(rows)


def test_no_difference_is_taken_of_what_is_not_of_one_kind(table, tmp_path):
    write_report(table, comparisons("full"), tmp_path)
    differences = pd.read_csv(tmp_path / "differences.csv")
    told = {name: set(found["measure"]) for name, found in differences.groupby("comparison")}
    assert {"test_bits_per_dim", "test_rate", "test_knn_accuracy"} <= told["data_set"]
    assert "test_frechet_distance_of_decoder means, own prior" in told["likelihood"]
    for name, measure in itertools.product(("data_set", "likelihood"), ("test_elbo", "test_distortion")):
        assert measure not in told[name]
    assert "test_bits_per_dim" not in told["likelihood"]  # a cross-entropy of grey pixels has none
    assert "test_frechet_distance_of_decoder means, own prior" not in told["data_set"]


def test_a_part_of_the_study_is_not_judged_and_its_cost_is_told(table, tmp_path):
    text = write_report(table, comparisons("full"), tmp_path)
    assert not (tmp_path / "findings.md").exists() and "confirmed" not in text
    runs = table.drop_duplicates("run").query("dataset == 'mnist'")
    assert f"mnist: {len(runs)} runs, {len(runs) / 60:.2f} h of training on one thread, 60 s for" in text


def test_a_run_without_a_result_is_named_before_the_others(table, tmp_path):
    lost = table[table["run"] == "run-0"].head(1).assign(status="failed", error="no room", measure=None)
    text = write_report(pd.concat([table[table["run"] != "run-0"], lost]), comparisons("full"), tmp_path)
    assert text.startswith("failed: ") and "no room" in text.splitlines()[0]
