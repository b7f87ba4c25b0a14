"""Figures are compared by their artists: what is written, what is drawn and where, never pixel by pixel."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy import stats

from tests.support.figures import history, one, sweep, texts, ticks
from vae_lib.plots import curves
from vae_lib.plots.curves import plot_loss_curves, plot_metric, plot_rate_distortion
from vae_lib.plots.latents import plot_factor_matrix, plot_rate_per_dim
from vae_lib.plots.style import COLORS


def test_loss_curves_draw_three_terms_for_train_and_validation():
    frame = history()
    figure = plot_loss_curves(frame, title="digits")
    assert len(figure.axes) == 3
    for ax, column in zip(figure.axes, ("loss", "distortion", "rate"), strict=True):
        train, validation = ax.lines
        np.testing.assert_array_equal(train.get_ydata(), frame[column])
        np.testing.assert_array_equal(validation.get_ydata(), frame[f"val_{column}"])
        assert (train.get_linestyle(), validation.get_linestyle()) == ("--", "-")
        assert ax.get_xlabel() == "epoch" and "nats" in ax.get_ylabel()
    assert texts(figure.legends[0]) == ["train", "validation"] and figure.get_suptitle() == "digits"


def test_loss_curves_of_several_runs_differ_in_colour():
    unvalidated = history(5).drop(columns=["val_loss", "val_distortion", "val_rate"])
    figure = plot_loss_curves({"a": history(), "b": unvalidated})
    for ax in figure.axes:
        assert [line.get_label() for line in ax.lines] == ["a train", "a validation", "b train"]
    assert texts(figure.legends[0]) == ["a train", "a validation", "b train"]
    for lines in (figure.axes[2].lines, figure.legends[0].legend_handles):
        assert [line.get_linestyle() for line in lines] == ["--", "-", "--"]
        assert [line.get_color() for line in lines] == [COLORS[0], COLORS[0], COLORS[1]]
    with pytest.raises(ValueError, match="lacks the columns"):
        plot_loss_curves(history().drop(columns="rate"))


def test_a_single_epoch_is_drawn_as_points_that_differ_by_part():
    figure = plot_loss_curves(history()[:1])
    for lines in (*(ax.lines for ax in figure.axes), figure.legends[0].legend_handles):
        assert [(line.get_marker(), line.get_fillstyle()) for line in lines] == [("o", "none"), ("o", "full")]
    assert {line.get_marker() for line in plot_loss_curves(history()).axes[0].lines} == {"None"}


def test_rate_per_dim_sorts_latents_and_counts_the_active():
    ax = plot_rate_per_dim(np.array([0.005, 2.0, 0.5, 0.0]), threshold=0.01)
    assert [bar.get_height() for bar in ax.patches] == [2.0, 0.5, 0.005, 0.0]
    assert ticks(ax, "x") == ["z1", "z2", "z0", "z3"]
    colors = [to_hex(bar.get_facecolor()) for bar in ax.patches]
    assert colors[0] == colors[1] != colors[2] == colors[3]
    legend = {"2.5 nats in all", "2 active (rate > 0.01 nats)", "2 collapsed"}
    assert set(texts(ax.get_legend())) == legend
    assert ax.lines[0].get_ydata()[0] == 0.01 and "nats" in ax.get_ylabel()


def test_rate_distortion_draws_means_with_intervals_along_the_sweep():
    frame = one(sweep())
    ax = plot_rate_distortion(frame)
    means = frame.groupby("beta").mean(numeric_only=True)
    (container,) = ax.containers
    np.testing.assert_allclose(container.lines[0].get_xdata(orig=False), means["rate"])
    np.testing.assert_allclose(container.lines[0].get_ydata(orig=False), means["distortion"])
    assert len(container.lines[2]) == 2  # bars along both axes
    names = [text.get_text() for text in ax.texts]
    assert names[:3] == ["β = 1", "2", "4"]
    assert "nats" in ax.get_xlabel() and "95 % interval over 3 seeds" in ax.get_xlabel()


def test_iso_elbo_lines_carry_their_elbo():
    ax = plot_rate_distortion(sweep(), hue="dataset")
    lines = [line for line in ax.lines if line.get_zorder() < 1]
    named = [text for text in ax.texts if text.get_text().startswith("ELBO")]
    assert len(lines) == len(named) >= 3
    for line, text in zip(lines, named, strict=True):
        total = line.get_xdata() + line.get_ydata()
        np.testing.assert_allclose(total, -float(text.get_text().split()[1].replace("−", "-")))
    assert texts(ax.get_legend()) == ["digits", "sprites"]


def test_elbo_is_named_away_from_the_curve_and_without_one_too():
    frame = pd.DataFrame(
        {"rate": [1.0, 2, 60], "distortion": [150.0, 60, 50], "beta": [4.0, 2, 1], "seed": 0}
    )
    for rows in (frame, frame[:1], frame[:0]):
        ax = plot_rate_distortion(rows)
        ax.figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in ax.texts if text.get_text().startswith("ELBO")]
        points = ax.transData.transform(rows[["rate", "distortion"]].to_numpy().reshape(-1, 2))
        assert boxes and not any(box.contains(*point) for box in boxes for point in points)


def test_metric_draws_mean_and_student_interval_over_seeds():
    frame = one(sweep("latent_dim", (2, 4, 32)))
    ax = plot_metric(frame, "latent_dim", "distortion", log2_x=True)
    (container,) = ax.containers
    segments = container.lines[2][0].get_segments()
    for (dim, rows), (low, high) in zip(frame.groupby("latent_dim"), segments, strict=True):
        expected = stats.ttest_1samp(rows["distortion"], 0).confidence_interval(0.95)
        np.testing.assert_allclose((low[1], high[1]), expected, rtol=1e-12)
        assert low[0] == dim
    assert [ax.xaxis.get_major_formatter()(tick, 0) for tick in ax.get_xticks()] == ["2", "4", "32"]
    assert ax.get_xscale() == "log" and "nats" in ax.get_ylabel() and "3 seeds" in ax.get_xlabel()


def test_metric_names_curves_and_baselines_beside_them_without_collision():
    baselines = {"WebP": 20.0, "PNG": 20.01}
    ax = plot_metric(sweep(), "beta", "distortion", hue="dataset", baselines=baselines)
    labels = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert set(labels) == {"WebP", "PNG", "digits", "sprites"}
    assert abs(labels["WebP"] - labels["PNG"]) > 0.04 * np.ptp(ax.get_ylim())
    assert {line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"} == {20.0, 20.01}


def test_metric_sets_names_side_by_side_and_orders_numbers_of_the_hue():
    ax = plot_metric(sweep(), "dataset", "rate", hue="beta")
    assert [ax.xaxis.get_major_formatter()(tick, 0) for tick in ax.get_xticks()] == ["digits", "sprites"]
    assert texts(ax.get_legend()) == ["β = 1", "β = 2", "β = 4"]
    points = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
    at = [line.get_xdata()[0] for line in points]
    assert at == sorted(at) and len(set(at)) == 3
    means = sweep().pivot_table(index="beta", columns="dataset", values="rate")
    np.testing.assert_allclose([line.get_ydata() for line in points], means)


def test_names_side_by_side_have_their_student_interval():
    ax = plot_metric(sweep(), "dataset", "rate", hue="beta")
    bars = {(min(y), max(y)) for y in (line.get_ydata() for line in ax.lines) if np.isnan(y).any()}
    expected = {
        tuple(stats.ttest_1samp(rows["rate"], 0).confidence_interval(0.95))
        for _, rows in sweep().groupby(["beta", "dataset"])
    }
    np.testing.assert_allclose(sorted(bars), sorted(expected), rtol=1e-12)


def test_single_runs_have_no_interval_and_say_so():
    ax = plot_metric(one(sweep(seeds=1)), "beta", "rate")
    assert "no interval" in ax.get_xlabel()
    assert not any(np.isfinite(bar).all() and len(bar) for bar in ax.containers[0].lines[2][0].get_segments())


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (sweep().rename(columns={"beta": "b"}), r"lacks the columns \['beta'\]"),
        (sweep().rename(columns={"rate": "kl"}), r"lacks the columns \['rate'\]"),
        (sweep(), "several runs share one value"),  # two data sets on one curve
    ],
)
def test_frames_that_cannot_be_compared_are_refused(frame, message):
    with pytest.raises(ValueError, match=message):
        plot_metric(frame, "beta", "rate")


def test_factor_matrix_names_latents_and_factors():
    matrix = np.array([[0.1, 0.9], [0.8, 0.0], [0.0, 0.05]])
    ax = plot_factor_matrix(matrix, ["scale", "x"], dims=(4, 0, 2), label="mutual information (nats)")
    assert (ticks(ax, "x"), ticks(ax, "y")) == (["scale", "x"], ["z4", "z0", "z2"])
    np.testing.assert_array_equal(ax.collections[0].get_array(), matrix)
    assert ax.collections[0].get_clim() == (0, 0.9)
    assert [text.get_text() for text in ax.texts] == ["0.10", "0.90", "0.80", "0.00", "0.00", "0.05"]
    assert ax.figure.axes[1].get_ylabel() == "mutual information (nats)"
    with pytest.raises(ValueError, match="3 factors"):
        plot_factor_matrix(matrix, "abc")


@pytest.mark.parametrize(
    "draw", [plot_rate_per_dim, lambda x, ax: plot_metric(one(sweep()), "beta", "rate", ax=ax)]
)
def test_plots_draw_on_the_axes_they_are_given(draw):
    ax = plt.Figure().add_subplot()
    assert draw(np.ones(3), ax=ax) is ax and ax.has_data()


def test_columns_of_a_study_are_labelled_with_their_target_and_unit():
    frame = pd.DataFrame({"latent_dim": [2, 4], "psnr_test": [15.0, 18.0], "rate_val": [4.0, 8.0], "seed": 0})
    assert plot_metric(frame, "latent_dim", "psnr_test").get_ylabel() == "PSNR (dB)"
    assert plot_metric(frame, "latent_dim", "psnr_test").get_xlabel().startswith("latent size\n")
    label = plot_metric(frame, "latent_dim", "rate_val").get_ylabel()
    assert label == "rate of validation images (nats/image)"


def test_panels_hold_a_measure_each_and_leave_out_runs_without_a_score():
    runs = pd.DataFrame({"beta": [1.0, 1.0, 4.0, 4.0], "seed": [0, 1, 0, 1], "a": [1.0, 3.0, 5.0, 7.0]})
    runs["b"] = [2.0, 4.0, np.nan, np.nan]
    figure = curves.metric_panels(runs, "beta", {"a": "score (dB)", "b": "cost"}, title="a sweep")
    assert [ax.get_ylabel() for ax in figure.axes] == ["score (dB)", "cost"]
    lines = [ax.lines[0] for ax in figure.axes]
    assert [list(line.get_ydata()) for line in lines] == [[2.0, 6.0], [3.0]]
    assert [ticks(ax, "x") for ax in figure.axes] == [["1", "4"], ["1"]]
    assert figure.get_suptitle() == "a sweep" and "95 %" in figure.get_supxlabel()
    assert [ax.get_xlabel() for ax in figure.axes] == ["β", "β"]


def test_a_beta_of_zero_has_a_place_of_its_own_beside_those_that_double():
    runs = pd.DataFrame({"beta": np.repeat([0.0, 1.0, 2.0, 4.0], 2), "seed": [0, 1] * 4, "a": np.arange(8.0)})
    ax = curves.metric_panels(runs, "beta", ["a"]).axes[0]
    places = ax.transData.transform([(beta, 0.0) for beta in (0, 1, 2, 4)])[:, 0]
    assert ticks(ax, "x") == ["0", "1", "2", "4"]
    np.testing.assert_allclose(np.diff(places), np.diff(places)[0], rtol=0.3)


def test_panels_of_metrics_are_labelled_by_the_registry_and_keep_the_colour_of_a_curve():
    runs = sweep("latent_dim", (2, 4)).rename(columns={"rate": "frechet_distance_mean_model"})
    runs = runs.assign(distortion_test=runs["distortion"].where(runs["dataset"] == "sprites"))
    measures = ["distortion_test", "frechet_distance_mean_model"]
    figure = curves.metric_panels(runs, "latent_dim", measures, hue="dataset")
    labels = [ax.get_ylabel().replace("\n", " ") for ax in figure.axes]
    assert labels == ["distortion (nats/image)", "Fréchet distance of decoder means"]
    figure.draw_without_rendering()
    assert all(ax.yaxis.label.get_window_extent().height < ax.bbox.height for ax in figure.axes)
    colors = [[line.get_color() for line in ax.lines if line.get_linestyle() == "-"] for ax in figure.axes]
    assert colors == [[COLORS[1]], list(COLORS[:2])]
