"""Sliders over the latents of a model, for a live notebook, and a still figure where there are no widgets."""

import os
from collections.abc import Callable
from functools import partial
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vae_lib.latent_space import traverse
from vae_lib.plots.image_grids import traversal_grid

REACH = 3.0  # standard deviations of the prior to either side
SIDE = 224  # least height of the image on the screen, in pixels


def explore(decode: Callable[[np.ndarray], np.ndarray], z: np.ndarray, rates: np.ndarray, n_sliders: int = 8):
    """Show the image of a code beside a slider for each of the latents that carry most.

    Args:
        decode: Codes (n, latent_dim) -> images, uint8 (n, height, width, channels).
        z: The code to start from, shape (latent_dim,).
        rates: Rate of each latent in nats, shape (latent_dim,).
        n_sliders: How many latents to move, the highest rate first.

    Returns:
        A widget; or, where ipywidgets is missing or VAE_BATCH=1 is set (as for a notebook that is committed),
        a figure of the traversals of the same latents.
    """
    dims = np.argsort(-rates, kind="stable")[:n_sliders]
    try:
        if os.environ.get("VAE_BATCH") == "1":
            raise ImportError("a committed notebook holds no widgets")
        import ipywidgets
    except ImportError:
        return _still(decode, z, rates, dims)
    code = np.array(z, dtype="float32")
    picture = ipywidgets.Image(value=_png(decode(code[None])[0]), format="png")

    def move(dim: int, change: dict) -> None:
        code[dim] = change["new"]  # the others stay what they were, to the bit
        picture.value = _png(decode(code[None])[0])

    sliders = []
    for dim in dims:
        looks = {"description": f"z{dim}", "tooltip": f"{rates[dim]:.2f} nats", "readout_format": ".2f"}
        start = float(np.clip(code[dim], -REACH, REACH))
        sliders.append(ipywidgets.FloatSlider(start, min=-REACH, max=REACH, step=0.05, **looks))
        sliders[-1].observe(partial(move, dim), names="value")
    return ipywidgets.HBox([picture, ipywidgets.VBox(sliders)])


def _still(decode, z: np.ndarray, rates: np.ndarray, dims: np.ndarray) -> Figure:
    values = np.linspace(-REACH, REACH, 9)
    codes = traverse(z, dims, values)
    images = decode(codes.reshape(-1, codes.shape[-1]))
    images = images.reshape(*codes.shape[:2], *images.shape[1:])
    title = "What the sliders of a live notebook move: one latent at a time, highest rate first"
    return traversal_grid(images, dims=dims, rates=rates[dims], values=values, title=title)


def _png(image: np.ndarray) -> bytes:
    """Return an image as a PNG whose every pixel is a square large enough to be seen."""
    scale, buffer = -(-SIDE // image.shape[0]), BytesIO()
    Image.fromarray(image.repeat(scale, axis=0).repeat(scale, axis=1).squeeze()).save(buffer, format="PNG")
    return buffer.getvalue()
