import re

import numpy as np

from tests.support.figures import novelty, texts, ticks
from vae_lib.plots.novelty import plot_novelty


def test_each_set_has_its_distribution_and_each_score_its_auroc_in_the_order_given():
    costs, table = novelty()
    left, right = plot_novelty(costs, table, unit="nats/image").axes
    assert ticks(left, "y") == ["own\n(the model's own)", "simple", "noise"]
    assert left.get_xlabel() == "−ELBO (nats/image)"
    assert len(left.collections) == 3
    left.figure.canvas.draw()
    assert all(re.fullmatch(r"[\d,.]*", label) for label in ticks(left, "x"))
    assert not any(label.get_text() for label in left.get_xticklabels(minor=True))
    assert ticks(right, "x") == ["ELBO", "PNG\nalone"]
    shown = np.asarray(right.images[0].get_array().filled(np.nan))
    np.testing.assert_allclose(shown, [[np.nan, np.nan], [0.1, 0.3], [0.5, 0.7]])
    assert [text for text in texts(right) if "±" in text and "\n" in text] == [
        *("0.100\n±0.000", "0.300\n±0.010", "0.500\n±0.020", "0.700\n±0.030")
    ]


def test_scores_without_intervals_are_drawn_without(tmp_path):
    costs, table = novelty()
    _, right = plot_novelty(costs, table.assign(half_width=np.nan)).axes
    assert [text for text in texts(right) if text.startswith("0.")] == ["0.100", "0.300", "0.500", "0.700"]


def test_a_bound_of_zero_has_a_place_on_the_axis():
    costs, table = novelty()
    costs["simple"][0] = 0.0
    left, _ = plot_novelty(costs, table).axes
    assert left.get_xlim()[0] > 0
