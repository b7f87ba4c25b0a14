"""A session of the notebook: what its cells share, loaded once and only when asked for."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vae_lib.data.dataset import from_arrays
from vae_lib.plots.image_grids import image_grid
from vae_lib.study.session import Lazy, Session, small_png
from vae_lib.training.run import load_run
from vae_lib.utils.errors import InputError


def test_what_is_asked_for_is_made_once():
    made = []
    table = Lazy(lambda key: made.append(key) or key * 2)
    assert (table[3], table[3], made) == (6, 6, [3])


def test_an_unknown_preset_is_one_line_in_a_notebook():
    with pytest.raises(InputError, match="VAE_PRESET is 'Quick': choose smoke, quick or full") as caught:
        Session("Quick", "data", "models", "images")
    assert caught.value._render_traceback_() == [f"Stopped: {caught.value}"]


def test_stand_ins_are_named_and_are_not_of_the_study(monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_EMBEDDED_ONLY", "1")
    session = Session("smoke", tmp_path, "models", tmp_path)
    assert len(session.data["cifar10"].x_train) == 256 and not session.is_of_study("cifar10")
    text = session.summary()
    assert "**CIFAR-10 is not available here" in text and f"{session.table['run'].nunique()} runs" in text
    assert set(session.study) >= {"latent_size", "beta"}


def test_a_data_set_of_the_same_source_with_other_pixels_is_not_of_the_study(tmp_path):
    session = Session("quick", tmp_path, "models", tmp_path)
    known = load_run("models/showcase/fashion_mnist-z32").data
    x = np.zeros((20, 28, 28, 1), np.uint8)
    session.data["fashion_mnist"] = replace(from_arrays(x, name="fashion_mnist"), source=known["source"])
    assert not session.is_of_study("fashion_mnist")


@pytest.mark.real_data
def test_the_data_set_that_the_runs_were_trained_on_is_of_the_study(tmp_path):
    assert Session("quick", "data", "models", tmp_path).is_of_study("fashion_mnist")


@pytest.mark.real_data
def test_a_few_images_of_the_preset_smoke_are_not_those_that_the_runs_were_trained_on(tmp_path):
    session = Session("smoke", "data", "models", tmp_path)
    assert not session.is_of_study("fashion_mnist")
    assert not session._comes_with_the_project("fashion_mnist-z2", session.data["fashion_mnist"])


def test_a_figure_is_saved_with_its_runs_and_shown_with_a_description(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    runs = pd.DataFrame({"source": "elsewhere", "seed": [1, 0], "run": ["b", "a"]})
    figure = image_grid(np.zeros((4, 8, 8, 1), np.uint8), n_cols=2)
    Session("quick", tmp_path, "models", tmp_path).show(figure, "grid", runs)
    assert {path.name for path in tmp_path.iterdir()} == {"grid.png", "grid.svg"}
    with Image.open(tmp_path / "grid.png") as saved:
        assert '"runs": ["a", "b"], "seeds": [0, 1], "source": "elsewhere"' in saved.text["Description"]
    assert shown[0].alt == "grid" and shown[0].data.startswith(b"\x89PNG")


def test_a_shown_figure_has_a_palette_only_where_no_one_sees_it(tmp_path):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (64, 64, 1)).repeat(3, axis=-1)
    colour = rng.integers(0, 256, (64, 64, 3))
    for name, pixels, mode in (("grey", grey, "P"), ("colour", colour, "RGB")):
        Image.fromarray(pixels.astype(np.uint8).repeat(2, 0).repeat(2, 1)).save(tmp_path / name, "PNG")
        with Image.open(io.BytesIO(small_png(tmp_path / name))) as small:
            assert small.mode == mode and small.size == (64, 64)
            assert np.abs(np.asarray(small.convert("RGB"), int) - pixels).mean() <= 1
