"""Findings: means, paired steps and verdicts on tables whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from vae_lib.study.comparisons import (
    Difference,
    cell_means,
    compare_adjacent,
    compare_cells,
    compare_settings,
    interval_table,
)
from vae_lib.study.findings import Evidence, Finding, markdown_table


@pytest.fixture
def runs():
    """Score = 10 x latent size + seed, and a constant second measure."""
    rows = [
        {"dataset": "a", "latent_dim": d, "seed": s, "score": 10.0 * d + s, "flat": 1.0 + s % 2}
        for d in (2, 4, 8)
        for s in (0, 1, 2)
    ]
    return pd.DataFrame(rows)


def test_means_have_student_intervals_over_seeds(runs):
    table = cell_means(runs, ["dataset", "latent_dim"], ["score"])
    assert list(table["mean"]) == [21.0, 41.0, 81.0] and set(table["seeds"]) == {3}
    np.testing.assert_allclose(table["half_width"], 4.302653 * 1 / np.sqrt(3), rtol=1e-6)


def test_steps_are_paired_by_seed_so_what_seeds_share_is_no_noise(runs):
    steps = compare_adjacent(runs, "latent_dim", ["score", "flat"])
    scores = steps[steps["score"] == "score"]
    assert list(scores["difference"]) == [20.0, 40.0] and (scores["half_width"] == 0).all()
    assert scores["resolved"].all() and not steps.loc[steps["score"] == "flat", "resolved"].any()
    assert list(zip(scores["from"], scores["to"], strict=True)) == [(2, 4), (4, 8)]


def test_a_seed_that_one_cell_lacks_is_left_out_of_the_pairs(runs):
    small = runs[(runs["latent_dim"] == 2) & (runs["seed"] > 0)]
    found = compare_cells(small, runs[runs["latent_dim"] == 8], "score")
    assert (found.start, found.end, found.difference, found.half_width) == (21.5, 81.5, 60.0, 0.0)


def test_two_values_of_a_setting_are_compared_in_pairs(runs):
    found = compare_settings(runs, "latent_dim", 2, 8, "score")
    assert (found.start, found.end, found.difference) == (21.0, 81.0, 60.0)
    assert found.as_text("dB") == "21.0 to 81.0 dB (+60.0 ± 0.0)"
    assert found.as_text("", 0) == "21 to 81 (+60 ± 0)"


def test_a_table_of_intervals_has_a_row_per_cell_and_leaves_out_what_nobody_has(runs):
    runs = runs.rename(columns={"score": "rate_test"})
    scores, headings = ["rate_test", "flat", "absent"], {"flat": "as flat as can be"}
    table = interval_table(runs, ["latent_dim"], scores, headings)
    assert list(table.columns) == ["rate (nats/image)", "as flat as can be"] and list(table.index) == [
        2,
        4,
        8,
    ]
    assert table.loc[2, "rate (nats/image)"] == "21.0\N{NBSP}±\N{NBSP}2.5"
    single = interval_table(runs[runs["seed"] == 0], ["latent_dim"], scores)
    assert single.loc[4, "rate (nats/image)"] == "40.0"


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([(2.0, 1.0, 1), (-2.0, 1.0, -1)], "confirmed"),
        ([(-2.0, 1.0, 1), (2.0, 1.0, -1)], "contradicted"),
        ([(2.0, 1.0, 1), (0.5, 1.0, 1)], "in part"),  # the second is within the noise
        ([(2.0, 1.0, 1), (-2.0, 1.0, 1)], "in part"),
        ([(0.5, 1.0, 1), (-0.5, 1.0, 1)], "unresolved"),
        ([(2.0, float("nan"), 1)], "unresolved"),  # one seed proves nothing
    ],
)
def test_a_verdict_needs_differences_beyond_the_noise_of_seeds(differences, verdict):
    evidence = [
        Evidence("it", Difference(0.0, d, d, half, 3), "psnr_test", sign) for d, half, sign in differences
    ]
    found = Finding("a claim", tuple(evidence))
    assert found.verdict == verdict
    assert (
        f"it 0.00 to {differences[0][0]:.2f} dB ({differences[0][0]:+.2f} ± " in found.evidence[0].as_text()
    )
    assert f"| a claim | {verdict} | it 0.00" in markdown_table([found])
