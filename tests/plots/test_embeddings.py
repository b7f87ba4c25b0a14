"""Figures are compared by their artists: what is written, what is drawn and where, never pixel by pixel."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tests.support.figures import embedding, organisation, texts, title
from vae_lib.plots.embeddings import plot_embedding
from vae_lib.plots.style import COLORS


def test_embedding_colours_and_names_each_class():
    points, labels = embedding()
    ax = plot_embedding(points, labels, class_names=["zero", "one", "two"])
    (dots,) = ax.collections
    colors = dict(zip(map(tuple, dots.get_offsets().data), map(to_hex, dots.get_facecolors()), strict=True))
    assert all(colors[tuple(p)] == COLORS[k] for p, k in zip(points, labels, strict=True))
    assert texts(ax.get_legend()) == ["zero", "one", "two"]
    handles = ax.get_legend().legend_handles
    assert [to_hex(handle.get_color()) for handle in handles] == list(COLORS[:3])
    assert all(handle.get_markersize() >= 5 for handle in handles)
    for text, centre in zip(
        ax.texts, [np.median(points[labels == k], axis=0) for k in range(3)], strict=True
    ):
        assert text.get_position() == pytest.approx(tuple(centre), abs=1)


def test_embedding_without_meaning_has_no_ticks_and_a_pca_states_its_variance():
    assert len(plot_embedding(*embedding()).get_xticks()) == 0
    ax = plot_embedding(*embedding(), explained=(0.5, 0.25))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("PC 1 (50% of variance)", "PC 2 (25% of variance)")
    points, _ = embedding(100)
    crowded = plot_embedding(points, np.arange(100))
    assert crowded.get_legend() is None and not crowded.texts


def test_names_of_classes_at_one_place_are_moved_apart():
    points, _ = embedding()
    ax = plot_embedding(points.repeat(5, axis=0), np.tile(np.arange(5), len(points)))
    heights = sorted(text.get_position()[1] for text in ax.texts)
    assert np.diff(heights).min() > 0.05 * np.ptp(points, axis=0).max()


def test_latent_organisation_warns_of_distances_and_names_code_and_perplexity():
    figure = organisation()
    assert [title(ax) for ax in figure.axes] == [*("PCA", "t-SNE, perplexity 10", "t-SNE, perplexity 40")]
    caption = figure.get_supxlabel().replace("\n", " ")
    assert caption.startswith("z_mean of 60 images") and "distances are not distances" in caption
    assert texts(figure.legends[0]) == ["a", "b", "c"]
    assert all(ax.get_legend() is None for ax in figure.axes)


def test_classes_with_dollars_are_named_as_they_are():
    points, labels = embedding()
    ax = plot_embedding(points, labels, class_names=("Ba$$in", "$0-$10", "c"), title="from $5 to $6")
    ax.figure.draw_without_rendering()
    assert {"Ba$$in", "$0-$10", "c"} <= set(texts(ax.figure))
