"""The report of a study: what it compares, what it leaves alone, and what it says that the runs cost."""

import itertools

import pandas as pd
import pytest

from vae_lib.config import TrainConfig
from vae_lib.study.grids import compare, preset_comparisons
from vae_lib.study.report import write_report
from vae_lib.study.results import by_run, results_table

SCORED = {
    "bits_per_dim_test": 3.5,
    "elbo_test": -1900.0,
    "distortion_test": 1860.0,
    "rate_test": 40.0,
    "knn_accuracy_z_mean": 0.8,
    "frechet_distance_mean_model": 20.0,
}


def scored(configs):
    """Return a table of finished runs, with scores that rise by 1 % a run."""
    rows = []
    for i, config in enumerate(configs):
        facts = dict(run=f"run-{i}", source="elsewhere", status="finished", seconds=60.0, parameters=9)
        for name, value in SCORED.items():
            if not (config.likelihood == "bernoulli" and name == "bits_per_dim_test"):
                score = dict(score=name, value=value * (1 + i / 100), n=10)
                rows.append({**config.to_dict(), **facts, **score})
    return results_table(rows)


@pytest.fixture
def table():
    """Two comparisons of the preset `full`, two seeds a cell."""
    found = preset_comparisons("full")
    chosen = {c for name in ("data_set", "likelihood") for c in found[name].configs if c.seed < 2}
    return scored(sorted(chosen, key=str))


def test_no_difference_is_taken_of_what_is_not_of_one_kind(table, tmp_path):
    write_report(table, preset_comparisons("full"), tmp_path)
    differences = pd.read_csv(tmp_path / "differences.csv")
    compared = {name: set(found["score"]) for name, found in differences.groupby("comparison")}
    assert {"bits_per_dim_test", "rate_test", "knn_accuracy_z_mean"} <= compared["data_set"]
    assert "frechet_distance_mean_model" in compared["likelihood"]
    for name, score in itertools.product(("data_set", "likelihood"), ("elbo_test", "distortion_test")):
        assert score not in compared[name]
    assert "bits_per_dim_test" not in compared["likelihood"]  # a cross-entropy of grey pixels has none
    assert "frechet_distance_mean_model" not in compared["data_set"]


def test_a_part_of_the_study_is_not_judged_and_its_cost_is_told(table, tmp_path):
    text = write_report(table, preset_comparisons("full"), tmp_path)
    assert not (tmp_path / "findings.md").exists() and "confirmed" not in text
    runs = table.drop_duplicates("run").query("dataset == 'mnist'")
    assert f"mnist: {len(runs)} runs, {len(runs) / 60:.2f} h of training on one thread, 60 s for" in text


def test_a_run_without_a_result_is_named_before_the_others(table, tmp_path):
    lost = table[table["run"] == "run-0"].head(1).assign(status="failed", error="disk full", score=None)
    text = write_report(
        pd.concat([table[table["run"] != "run-0"], lost]), preset_comparisons("full"), tmp_path
    )
    assert text.startswith("failed: ") and "disk full" in text.splitlines()[0]


def test_rates_and_distortions_are_drawn_apart_for_what_a_comparison_keeps_apart(tmp_path):
    base = TrainConfig(dataset="Küche", network="hierarchical", scale_blocks=(1,))
    comparison = compare(base, "latent_dim", (2, 4), (0, 1), within="epochs", epochs=(1, 5))
    runs = scored(comparison.configs)
    assert len(by_run(runs, comparison.configs)) == 8  # lists, as of scale_blocks, are compared too
    write_report(runs, {"length": comparison}, tmp_path)
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert drawn == {f"length_rate_distortion_Küche_{epochs}" for epochs in (1, 5)}
