import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from tests.support.figures import FIGURES, run_python
from vae_lib.plots import embeddings, image_grids, style


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_leaves_nothing_open_changes_no_setting_and_is_legible(name):
    before = dict(mpl.rcParams)
    figure = FIGURES[name]()
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before
    figure.canvas.draw()
    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert sizes and min(sizes) >= 8


def test_import_changes_no_setting_and_needs_neither_models_nor_tensorflow():
    code = """
import sys, matplotlib
before = dict(matplotlib.rcParams)
from vae_lib.plots import curves, embeddings, image_grids, latents, save
assert dict(matplotlib.rcParams) == before
loaded = {name for name in sys.modules if name.startswith("vae_lib.")}
packages = {name.split(".")[1] for name in loaded}
assert packages == {"plots", "metrics", "utils"}, loaded
assert "tensorflow" not in sys.modules and "sklearn" not in sys.modules
"""
    result = run_python(code)
    assert result.returncode == 0, result.stderr


def test_style_ends_with_its_context():
    outside = mpl.rcParams["axes.grid"]
    with style.figure_style():
        assert mpl.rcParams["axes.grid"] and mpl.rcParams["figure.constrained_layout.use"]
    assert mpl.rcParams["axes.grid"] == outside


def test_palette_orders_numbers_by_lightness_and_tells_names_apart():
    def lightness(color):
        return float(np.dot(to_rgb(color), (0.21, 0.72, 0.07)))

    shades = [lightness(color) for color in style.palette([2, 4, 8, 16, 32]).values()]
    assert np.all(np.diff(shades) > 0.05)
    assert list(style.palette(["a", "b"]).values()) == list(style.COLORS[:2])
    assert len(set(style.palette([f"class {i}" for i in range(30)]).values())) == 30


NAMES = ("\U0010fffd", "cat", "\U0010fffc")  # private letters, which no font has before a test makes one


def make_font(path, letters):
    """Write a font that draws each of the letters as a filled square."""
    pen = TTGlyphPen(None)
    for i, point in enumerate([(0, 0), (0, 900), (900, 900), (900, 0)]):
        (pen.lineTo if i else pen.moveTo)(point)
    pen.closePath()
    square, blank = pen.glyph(), TTGlyphPen(None).glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(letter): "square" for letter in letters})
    builder.setupGlyf({".notdef": blank, "square": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900, usWinAscent=900, usWinDescent=100)
    builder.setupPost()
    builder.save(path)


@pytest.fixture
def fonts(tmp_path, monkeypatch):
    """A function that adds a font with these letters to the system's, until the end of the test."""
    for cached in (style._fonts_with, style._warn_of_letters):
        cached.cache_clear()

    def add(letters):
        make_font(tmp_path / f"Made {len(letters)}.ttf", letters)
        monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist])
        font_manager.fontManager.addfont(tmp_path / f"Made {len(letters)}.ttf")

    yield add
    monkeypatch.undo()
    for cached in (style._fonts_with, style._warn_of_letters):
        cached.cache_clear()


def named_figures(names):
    """Draw figures of every kind that names classes; return all their texts."""
    labels = np.arange(30) % len(names)
    points = np.random.default_rng(0).normal(size=(30, 2)) + 9 * labels[:, None]
    pictures = np.zeros((len(names), 2, 8, 8, 1), np.uint8)
    options = {"class_names": names, "title": "".join(names)}
    figures = [
        image_grids.conditional_grid(pictures, names, title="".join(names)),
        embeddings.plot_embedding(points, labels, **options).figure,
        embeddings.plot_latent_organisation(points, {5: points}, labels, explained=(0.5, 0.2), **options),
    ]
    for figure in figures:
        figure.canvas.draw()
    return [{text.get_text() for text in figure.findobj(Text)} for figure in figures]


def test_names_in_letters_of_another_script_are_drawn_in_a_font_of_the_system_that_has_them(fonts):
    fonts(NAMES[0])
    fonts(NAMES[0] + NAMES[2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as that of a missing glyph
        for texts in named_figures(NAMES):
            assert set(NAMES) <= texts
    with style.figure_style():
        style.drawable(NAMES)
        assert mpl.rcParams["font.family"] == ["DejaVu Sans", "Made 2"]  # one for all, if there is one


def test_names_that_no_font_has_are_numbered_and_a_warning_says_it_once(fonts):
    fonts(NAMES[2])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for texts in named_figures(NAMES):
            assert {"class 0", *NAMES[1:]} <= texts and not any(NAMES[0] in text for text in texts)
    said = [str(warning.message) for warning in caught if warning.category is UserWarning]
    assert len(said) == 1 and "figures number the classes" in said[0]
