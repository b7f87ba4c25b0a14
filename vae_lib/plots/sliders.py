"""Sliders over the latents of a model, for a live notebook, and a still figure where there are no widgets."""

import os
from collections.abc import Callable
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vae_lib.latent_space import traverse
from vae_lib.plots.image_grids import traversal_grid

REACH = 3.0  # standard deviations of the prior to either side
SIDE = 224  # least height of the image on the screen, in pixels


def explore(decode: Callable[[np.ndarray], np.ndarray], z: np.ndarray, rates: np.ndarray, n_sliders: int = 8):
    """Show the image of a code above a slider for each of the latents that carry most.

    Args:
        decode: Codes (n, latent_dim) -> images, uint8 (n, height, width, channels).
        z: The code to start from, shape (latent_dim,).
        rates: Rate of each latent in nats, shape (latent_dim,).
        n_sliders: How many latents to move, the highest rate first.

    Returns:
        A widget; or, where ipywidgets is missing or VAE_BATCH=1 is set (as for a file that is committed), a
        figure of the traversals of the same latents.
    """
    dims = np.argsort(-rates, kind="stable")[:n_sliders]
    if os.environ.get("VAE_BATCH") == "1":
        return _still(decode, z, rates, dims)
    try:
        import ipywidgets
    except ImportError:
        return _still(decode, z, rates, dims)
    return _sliders(ipywidgets, decode, z, rates, dims)


def _sliders(ipywidgets, decode, z: np.ndarray, rates: np.ndarray, dims: np.ndarray):
    code = np.array(z, dtype="float32")
    picture = ipywidgets.Image(value=_png(decode(code[None])[0]), format="png")
    sliders = [
        ipywidgets.FloatSlider(
            value=float(np.clip(code[dim], -REACH, REACH)), min=-REACH, max=REACH, step=0.05,
            description=f"z{dim}", readout_format=".2f",
            tooltip=f"{rates[dim]:.2f} nats",
        )
        for dim in dims
    ]  # fmt: skip

    def redraw(change) -> None:
        dim = dims[sliders.index(change["owner"])]
        code[dim] = change["new"]  # the others stay what they were, to the bit
        picture.value = _png(decode(code[None])[0])

    for slider in sliders:
        slider.observe(redraw, names="value")
    return ipywidgets.HBox([picture, ipywidgets.VBox(sliders)])


def _still(decode, z: np.ndarray, rates: np.ndarray, dims: np.ndarray) -> Figure:
    values = np.linspace(-REACH, REACH, 9)
    codes = traverse(z, dims, values)
    images = decode(codes.reshape(-1, codes.shape[-1]))
    images = images.reshape(*codes.shape[:2], *images.shape[1:])
    title = "What the sliders of a live notebook move: one latent at a time, highest rate first"
    return traversal_grid(images, dims=dims, rates=rates[dims], values=values, title=title)


def _png(image: np.ndarray) -> bytes:
    """Return an image as a PNG whose every pixel is a square that can be seen."""
    scale = -(-SIDE // image.shape[0])
    large = image.repeat(scale, axis=0).repeat(scale, axis=1)
    buffer = BytesIO()
    Image.fromarray(large[..., 0] if image.shape[-1] == 1 else large).save(buffer, format="PNG")
    return buffer.getvalue()
