"""Sliders: what a reader moves, and what is shown where there is nothing to move."""

import builtins
from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from vae_lib.plots.sliders import explore

RATES = np.array([0.1, 3.0, 0.0, 2.0])


def decode(z):
    """Image i is as bright as latent 1 of code i."""
    grey = np.clip(100 + 20 * z[:, 1], 0, 255).astype("uint8")
    return np.broadcast_to(grey[:, None, None, None], (len(z), 8, 8, 1))


def brightness(picture) -> int:
    return int(np.asarray(Image.open(BytesIO(picture.value))).mean())


def test_a_slider_for_each_of_the_latents_that_carry_most_and_each_changes_the_image(monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.delenv("VAE_BATCH", raising=False)
    picture, box = explore(decode, np.zeros(4), RATES, n_sliders=2).children
    assert [slider.description for slider in box.children] == ["z1", "z3"]
    assert brightness(picture) == 100
    box.children[0].value = 2.0
    assert brightness(picture) == 140
    box.children[1].value = 2.0  # not seen by this decoder
    assert brightness(picture) == 140


def test_a_slider_moves_its_own_latent_alone_even_where_others_lie_beyond_their_sliders(monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.delenv("VAE_BATCH", raising=False)
    picture, box = explore(decode, np.array([0.0, 5.0, 0.0, 0.0]), RATES).children
    box.children[1].value = 1.0
    assert brightness(picture) == 200  # of latent 1 at 5, not at the slider's end


def test_the_code_that_it_starts_from_is_left_as_it_was(monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.delenv("VAE_BATCH", raising=False)
    z = np.zeros(4)
    explore(decode, z, RATES).children[1].children[0].value = 1.0
    assert not z.any()


def test_a_batch_run_and_a_machine_without_widgets_get_a_still_figure(monkeypatch):
    monkeypatch.setenv("VAE_BATCH", "1")
    assert isinstance(explore(decode, np.zeros(4), RATES), Figure)
    monkeypatch.delenv("VAE_BATCH")
    real = builtins.__import__

    def without_widgets(name, *args, **kwargs):
        if name == "ipywidgets":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_widgets)
    assert isinstance(explore(decode, np.zeros(4), RATES), Figure)
