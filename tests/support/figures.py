"""One figure of each kind, and how the tests read what is written and drawn in it."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.text import Text

from vae_lib.plots import embeddings, image_grids
from vae_lib.plots.curves import plot_loss_curves, plot_metric, plot_rate_distortion
from vae_lib.plots.latents import plot_factor_matrix, plot_rate_per_dim
from vae_lib.plots.novelty import plot_novelty

ROOT = Path(__file__).parents[2]


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


def history(offset: float = 0.0) -> pd.DataFrame:
    epoch = np.arange(1, 6)
    terms = {"distortion": 200 + 50 / epoch + offset, "rate": 20 - 3 / epoch}
    frame = pd.DataFrame({"epoch": epoch, **terms, "loss": sum(terms.values())})
    return frame.assign(**{f"val_{name}": frame[name] + 1 for name in ("loss", "distortion", "rate")})


def sweep(column: str = "beta", settings=(1.0, 2.0, 4.0), seeds: int = 3) -> pd.DataFrame:
    """A row per run: two data sets, settings and seeds."""
    rng = np.random.default_rng(0)
    rows = []
    for name, shift in (("digits", 0), ("sprites", 30)):
        for value, seed in itertools.product(settings, range(seeds)):
            scores = {"rate": 40 / value + rng.normal(), "distortion": 200 + shift + 5 * value + rng.normal()}
            rows.append({"dataset": name, column: value, "seed": seed, **scores})
    return pd.DataFrame(rows)


def one(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["dataset"] == "digits"]


def embedding(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % 3
    return np.random.default_rng(0).normal(size=(n, 2)) + 8 * labels[:, None], labels


def novelty() -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Bounds of a model's own images and of two other sets, and the AUROCs of two scores."""
    rng = np.random.default_rng(0)
    costs = {name: rng.gamma(5, size, 50) for name, size in (("own", 1), ("simple", 0.5), ("noise", 400))}
    pairs = itertools.product(("simple", "noise"), ("ELBO", "PNG alone"))
    rows = [
        {"outside": name, "score": score, "auroc": 0.2 * i + 0.1, "half_width": 0.01 * i, "over": "images"}
        for i, (name, score) in enumerate(pairs)
    ]
    return costs, pd.DataFrame(rows)


def organisation() -> plt.Figure:
    points, labels = embedding()
    tsne = {10: points, 40: -points}
    return embeddings.plot_latent_organisation(points, tsne, labels, explained=(0.5, 0.25), class_names="abc")


FIGURES = {
    "image_grid": lambda: image_grids.image_grid(images(7, 9, 5, 3), n_cols=3, title="noise"),
    "reconstruction": lambda: image_grids.reconstruction_grid(images(3, 8, 8, 1), images(3, 8, 8, 1)),
    "contact_sheet": lambda: image_grids.contact_sheet(
        images(5, 8, 8, 1), images(5, 8, 8, 1), list("abcde"), n=3, title="contact sheet"
    ),
    "novelty": lambda: plot_novelty(*novelty()),
    "sample": lambda: image_grids.sample_grid(images(4, 8, 8, 1), kind="decoder mean"),
    "interpolation": lambda: image_grids.interpolation_grid(images(2, 5, 8, 8, 1)),
    "manifold": lambda: image_grids.manifold_grid(images(3, 3, 8, 8, 1), (0.01, 0.5, 0.99)),
    "traversal": lambda: image_grids.traversal_grid(
        images(2, 3, 8, 8, 1), dims=(3, 0), rates=(2.14, 0.5), values=(-2.5, 0, 2.5)
    ),
    "conditional": lambda: image_grids.conditional_grid(images(2, 3, 8, 8, 1), ("zero", "one")),
    "loss": lambda: plot_loss_curves({"a": history(), "b": history(5)}, title="runs"),
    "embedding": lambda: embeddings.plot_embedding(*embedding()).figure,
    "organisation": organisation,
    "rate_per_dim": lambda: plot_rate_per_dim(np.linspace(0, 3, 40)).figure,
    "rate_distortion": lambda: plot_rate_distortion(sweep(), hue="dataset").figure,
    "metric": lambda: plot_metric(sweep(), "beta", "rate", hue="dataset", baselines={"PNG": 20}).figure,
    "factors": lambda: plot_factor_matrix(np.eye(4, 3), "abc").figure,
}


def texts(artist) -> list[str]:
    return [text.get_text() for text in artist.findobj(Text) if text.get_text()]


def ticks(ax, which: str) -> list[str]:
    return [label.get_text() for label in getattr(ax, f"get_{which}ticklabels")()]


def title(ax) -> str:
    return ax.get_title(loc="left").replace("\n", " ")


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess:
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "random"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
