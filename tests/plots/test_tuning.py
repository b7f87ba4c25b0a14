import numpy as np
import pandas as pd

from tests.support.figures import texts, ticks
from vae_lib.plots.tuning import plot_importances, plot_trials

TRIALS = pd.DataFrame(
    [
        (0, "finished", 4.0),
        (1, "stopped", 7.0),
        (2, "finished", 3.0),
        (3, "diverged", np.nan),
        (4, "finished", 3.5),
    ],
    columns=["trial", "status", "value"],
)


def test_trials_are_drawn_with_the_best_so_far_and_those_beyond_the_axis_at_its_edge():
    ax = plot_trials(TRIALS.iloc[::-1], "bits_per_dim", title="digits")
    done, rest = ax.collections
    np.testing.assert_array_equal(done.get_offsets(), [(0, 4.0), (2, 3.0), (4, 3.5)])
    (best,) = ax.lines
    assert list(best.get_ydata()) == [4.0, 3.0, 3.0]
    low, high = ax.get_ylim()
    assert low < 3.0 < 4.0 < high < 7.0
    np.testing.assert_allclose(rest.get_offsets(), [(1, high), (3, high)])
    assert texts(ax.get_legend()) == ["3 that finished", "best so far", "2 stopped before"]
    assert "bits per dimension" in ax.get_ylabel() and ax.get_title(loc="left") == "digits"


def test_where_higher_is_better_the_best_rises_and_the_rest_lie_at_the_lower_edge():
    ax = plot_trials(TRIALS.assign(value=-TRIALS["value"]), "elbo")
    assert list(ax.lines[0].get_ydata()) == [-4.0, -3.0, -3.0]
    np.testing.assert_allclose(ax.collections[1].get_offsets()[:, 1], ax.get_ylim()[0])


def test_a_single_trial_is_drawn():
    assert len(plot_trials(TRIALS[:1], "bits_per_dim").collections[0].get_offsets()) == 1


def test_importances_have_a_bar_for_each_setting_and_each_set_of_trials():
    shares = pd.DataFrame(
        [
            ("beta", 0.2, "early"),
            ("latent_dim", 0.8, "early"),
            ("beta", 0.6, "late"),
            ("latent_dim", 0.4, "late"),
        ],
        columns=["setting", "share", "of"],
    )
    ax = plot_importances(shares)
    assert ticks(ax, "y") == ["β", "latent size"] and texts(ax.get_legend()) == ["early", "late"]
    assert [[bar.get_width() for bar in bars] for bars in ax.containers] == [[0.2, 0.8], [0.6, 0.4]]
