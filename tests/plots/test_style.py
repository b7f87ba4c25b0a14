import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from tests.support.figures import FIGURES, run_python
from vae_lib.plots import style


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
