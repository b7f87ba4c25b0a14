"""Figures are compared by their artists: what is written, what is drawn and where, never pixel by pixel."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tests.support.figures import images, texts, ticks, title
from vae_lib.plots import image_grids
from vae_lib.plots.save import save_figure


def canvas(figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


def cell(figure, shape: tuple[int, int], row: int, column: int, scale: int, gap: int = 1) -> np.ndarray:
    top, left = row * (shape[0] * scale + gap), column * (shape[1] * scale + gap)
    return canvas(figure)[top : top + shape[0] * scale : scale, left : left + shape[1] * scale : scale]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_image_grid_shows_the_images_themselves(channels):
    x = images(5, 20, 18, channels) // 2 + 60
    figure = image_grids.image_grid(x, n_cols=3)
    shown = figure.axes[0].images[0]
    assert shown.get_interpolation() == "nearest"
    expected = {1: x[..., 0], 2: np.concatenate([x[..., :1]] * 3 + [x[..., 1:]], -1)}.get(channels, x)
    np.testing.assert_array_equal(cell(figure, (20, 18), 1, 1, 1), expected[4])
    assert (cell(figure, (20, 18), 1, 2, 1) == 255).all()  # the last row is ragged
    if channels == 1:
        assert shown.get_clim() == (0, 255) and shown.get_cmap().name == "gray"


def test_every_image_pixel_covers_the_same_whole_number_of_dots():
    figure = image_grids.image_grid(images(6, 28, 28, 1), n_cols=6, title="a title", row_labels=["some row"])
    agg = FigureCanvasAgg(figure)
    agg.draw()
    rendered = np.asarray(agg.buffer_rgba())[::-1, :, 0]
    left, bottom, width, height = np.rint(figure.axes[0].get_window_extent().bounds).astype(int)
    rows, columns = canvas(figure).shape
    assert width % columns == 0 and width // columns == height // rows >= 2
    crop = rendered[bottom : bottom + height, left : left + width][::-1]
    expected = canvas(figure).repeat(height // rows, 0).repeat(width // columns, 1)
    np.testing.assert_allclose(crop.astype(int), expected, atol=1)  # the grey scale rounds


def test_labels_lie_inside_the_figure_and_title_stays_within_its_width():
    figure = image_grids.image_grid(
        images(2, 8, 8, 1), title="many words " * 20, row_labels=["a long row label"]
    )
    inches = figure.get_size_inches()
    box = figure.get_tightbbox()
    assert box.min.min() >= 0 and (box.max <= inches).all() and inches[0] < 8


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 8, 8, 1)), images(2, 8, 8), images(2, 8, 8, 5), images(0, 8, 8, 1)]
)
def test_image_grid_refuses_what_is_no_uint8_image_batch(bad):
    with pytest.raises(ValueError, match="give uint8"):
        image_grids.image_grid(bad)


def test_labels_must_fit_the_grid():
    with pytest.raises(ValueError, match="1 labels for 2 rows"):
        image_grids.image_grid(images(4, 8, 8, 1), n_cols=2, row_labels=["only one"])


def test_reconstructions_stand_below_their_originals_and_say_they_are_means():
    x, mean = images(5, 16, 16, 1), images(5, 16, 16, 1) // 2
    notes = [f"{i}.0 dB" for i in range(5)]
    figure = image_grids.reconstruction_grid(x, mean, n_cols=3, annotations=notes)
    assert ticks(figure.axes[0], "y") == ["original", "reconstruction\n(mean of p(x|z))"] * 2
    assert [text.get_text() for text in figure.axes[0].texts] == notes
    figure = image_grids.reconstruction_grid(x, mean, n_cols=3)
    for row, expected in enumerate([x[:3], mean[:3], x[3:], mean[3:]]):
        np.testing.assert_array_equal(cell(figure, (16, 16), row, 1, 1), expected[1, ..., 0])


def test_reconstructions_of_several_models_share_the_originals():
    x = images(3, 16, 16, 3)
    models = {"latent 2": x // 2, "latent 16": x // 3}
    figure = image_grids.reconstruction_grid(x, models, annotations={"latent 16": ["a", "b", "c"]})
    assert ticks(figure.axes[0], "y") == ["original", "latent 2", "latent 16"]
    assert "means of p(x|z)" in title(figure.axes[0])
    (level,) = {text.get_position()[1] for text in figure.axes[0].texts}
    assert level > figure.axes[0].get_yticks()[2]
    with pytest.raises(ValueError, match="'latent 2' has shape"):
        image_grids.reconstruction_grid(x, {"latent 2": x[:2]})


@pytest.mark.parametrize("kind", ["decoder mean", "draw from p(x|z)"])
def test_titles_of_samples_name_their_kind(kind):
    figure = image_grids.sample_grid(images(2, 8, 8, 1), kind=kind, title="digits")
    name = title(figure.axes[0])
    assert name.startswith("digits: ") and kind.split()[0] in name
    assert ("p(x|z" in name) == kind.startswith("draw")
    with pytest.raises(ValueError, match="'mean'; choose from"):
        image_grids.sample_grid(images(2, 8, 8, 1), kind="mean")


def test_samples_by_class_name_the_classes_and_say_that_they_are_means():
    x = images(2, 3, 16, 16, 1)
    figure = image_grids.conditional_grid(x, ("zero", "one"), title="digits")
    assert ticks(figure.axes[0], "y") == ["zero", "one"]
    assert title(figure.axes[0]).startswith("digits: decoder means")
    np.testing.assert_array_equal(cell(figure, (16, 16), 1, 2, 1), x[1, 2, ..., 0])


def test_interpolation_frames_the_reconstructions_at_its_ends():
    figure = image_grids.interpolation_grid(images(2, 5, 16, 16, 1))
    ax = figure.axes[0]
    assert ticks(ax, "x") == ["t = 0", "0.25", "0.5", "0.75", "1"] and "the reconstructions" in title(ax)
    first, last = ax.patches
    assert first.get_x() < ax.get_xticks()[0] < first.get_x() + first.get_width() < ax.get_xticks()[1]
    assert ax.get_xticks()[3] < last.get_x() < ax.get_xticks()[4] < last.get_x() + last.get_width()


def test_manifold_rises_with_z1_and_shows_its_tails():
    x, quantiles = images(25, 25, 8, 8, 1), np.linspace(0.001, 0.999, 25)
    figure = image_grids.manifold_grid(x, quantiles)
    np.testing.assert_array_equal(cell(figure, (8, 8), 24, 0, 2), x[0, 0, ..., 0])  # lower left: both low
    np.testing.assert_array_equal(cell(figure, (8, 8), 0, 3, 2), x[24, 3, ..., 0])
    columns, rows = (ticks(figure.axes[0], which) for which in "xy")
    assert columns == rows[::-1]
    assert columns[0] == "−3.09\n(0.001)" and columns[-1] == "3.09\n(0.999)" and columns[12] == "0.00\n(0.5)"
    assert "0.998 of the prior mass" in title(figure.axes[0])
    assert "quantile" in figure.axes[0].get_xlabel() and "z1" in figure.axes[0].get_ylabel()


@pytest.mark.parametrize("quantiles", [(0, 0.5, 0.9), (0.1, 0.5, 1), (0.5, 0.1, 0.9), (0.1, 0.9)])
def test_manifold_refuses_quantiles_outside_the_prior(quantiles):
    with pytest.raises(ValueError, match="quantile"):
        image_grids.manifold_grid(images(3, 3, 8, 8, 1), quantiles)


def test_traversal_names_the_latents_in_the_order_given():
    x = images(2, 3, 16, 16, 1)
    keywords = {"rates": (2.14, 0.04), "values": (-2.5, 0, 2.5)}
    figure = image_grids.traversal_grid(x, dims=(3, 0), **keywords)
    assert ticks(figure.axes[0], "y") == ["z3 · 2.1 nats", "z0 · 0.0 nats"]
    assert ticks(figure.axes[0], "x") == ["−2.5", "0", "+2.5"]
    np.testing.assert_array_equal(cell(figure, (16, 16), 1, 2, 1), x[1, 2, ..., 0])
    with pytest.raises(ValueError, match="with 1 dims"):
        image_grids.traversal_grid(x, dims=(3,), **keywords)


def test_names_with_dollars_are_drawn_as_they_are(tmp_path):
    names = ["Ba$$in", "$0-$10"]
    figure = image_grids.conditional_grid(images(2, 3, 8, 8, 1), names, title="from $5 to $6")
    assert ticks(figure.axes[0], "y") == names
    save_figure(figure, "grid", directory=tmp_path)  # drawing them as formulas would fail
    assert "$0-$10" in (tmp_path / "grid.svg").read_text(encoding="utf-8")


def test_a_contact_sheet_shows_both_ends_above_their_reconstructions():
    x = np.arange(0, 250, 50, dtype="uint8").reshape(5, 1, 1, 1).repeat(8, 1).repeat(8, 2)
    figure = image_grids.contact_sheet(x, x + 5, list("abcde"), n=2, title="five")
    rows = [
        "most likely",
        "reconstruction\n(mean of p(x|z))",
        "least likely",
        "reconstruction\n(mean of p(x|z))",
    ]
    assert ticks(figure.axes[0], "y") == rows
    assert [text for text in texts(figure.axes[0]) if len(text) == 1] == list("abde")
    assert set(np.unique(canvas(figure))) == {0, 50, 5, 55, 150, 200, 155, 205, 255}  # and not 100
    single = image_grids.contact_sheet(x[:1], x[:1], ["a"], n=2, title="one")
    assert ticks(single.axes[0], "y")[0] == "the image"
