"""The page: what it shows of a model and its test images, and how its parts become one file.

The file holds `page.html` with `page.css`, `decoder.js`, `page.js` and all data. Its Content-Security-Policy
allows these very texts and nothing else: the page can load nothing, and send nothing.
"""

import html
import json
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from string import Template

import keras
import numpy as np

from vae_lib.apps.explorer.program import Program, Weights, packed
from vae_lib.apps.formats import check_policy
from vae_lib.data.dataset import ImageDataset
from vae_lib.latent_space import principal_plane
from vae_lib.metrics.elbo import rate_per_dim
from vae_lib.models.vae import VAE
from vae_lib.plots.embeddings import MAX_NAMED
from vae_lib.plots.style import palette
from vae_lib.training.mixture import KeptMixture
from vae_lib.training.run import Run
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import ensure_writable, write_text

MAX_BYTES = 12_000_000
N_CODES = 2000  # points in the plane
SHOWN = 0.99  # of them: far ones would leave little room for all others
N_DRAWS = 500  # of the prior, in all
N_SLIDERS = 32
REACH = 3.0  # of a slider, in standard deviations of the codes to either side
N_IMAGES = 20  # to choose two from, fewer of large ones
IMAGE_BYTES = 1_000_000  # of all of them
N_CHECKED = 4  # images that the page compares with the library's when it is opened


def write_explorer(run_or_vae: Run | VAE, path: Path | str, data: ImageDataset) -> None:
    """Write one HTML file in which the decoder runs: it needs a browser, no network and no server.

    It shows the image of one code z, which is moved in the plane, latent by latent, between two test images,
    or drawn from the prior; of a hierarchical model, z is z_1. It decodes with the model's own weights, in
    float32, and compares a few images with those of `decode` when it is opened.

    Args:
        run_or_vae: A run, or a trained model.
        path: The file, replaced if it exists.
        data: The data set that it was trained on; its test images are shown.

    Raises:
        InputError: If the file's name does not end in .html or it cannot be written, there are fewer than two
            test images, they are not the run's, the model is too large, or it has a layer or a dtype policy
            that the page cannot run.
    """
    path = Path(path)
    if path.suffix != ".html":
        raise InputError(f"the file's name must end in .html; received {path}: choose another --out")
    run = run_or_vae if isinstance(run_or_vae, Run) else None
    if run:
        data = run.own_images(data)
    vae = run.model() if run else run_or_vae
    check_policy("explorer", vae.dtype_policy.name)
    ensure_writable(path.parent)
    kept = run.mixture() if run and run.has_mixture else None
    text = _page(_content(vae, data, run.name if run else type(vae).__name__, kept))
    if len(text) > MAX_BYTES:
        raise InputError(
            f"{path} would have {len(text) / 1e6:.0f} MB, of at most {MAX_BYTES / 1e6:.0f}: the decoder is "
            "too large; train one of a smaller --width or --dense_units"
        )
    write_text(path, text)


def _page(content: dict) -> str:
    style, script = "\n" + _part("page.css"), "\n" + _part("decoder.js") + _part("page.js")
    return Template(_part("page.html")).substitute(
        title=html.escape(content["title"]),
        policy=f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        data=json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
    )


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _content(vae: VAE, data: ImageDataset, name: str, kept: KeptMixture | None) -> dict:
    """Return all that the page shows, for JSON."""
    x, y = data.images_and_labels("test")
    if len(x) < 2:
        raise InputError(f"the explorer needs 2 test images or more; {data.source} has {len(x)}")
    x, y = vae.as_observed(np.asarray(x[:N_CODES])), None if y is None else np.asarray(y[:N_CODES])
    z_mean, z_log_var = vae.encode(x, y if vae.num_classes else None)
    classes = [] if y is None else list(data.class_names)
    weights = Weights()
    programs = _programs(vae, weights)
    return {
        "title": data.title,
        "model": name,
        "source": data.source,
        "image_shape": list(vae.image_shape),
        "n_weights": sum(a.size for a in weights.arrays),
        "conditional": bool(vae.num_classes),
        "classes": classes,
        "colors": list(palette([f"class {i}" for i in range(max(len(classes), 1))]).values()),
        "named": 1 < len(classes) <= MAX_NAMED,
        "labels": packed(np.zeros(len(x)) if y is None else y, "uint16"),
        "mean": packed(z_mean.mean(axis=0)),
        "plane": _plane(z_mean),
        "sliders": _sliders(z_mean, z_log_var),
        "images": _images(vae, x, y),
        "draws": _draws(vae, kept, len(classes)),
        "programs": {key: program.to_json() for key, program in programs.items()},
        "weights": [packed(array) for array in weights.arrays],
    }


def _programs(vae: VAE, weights: Weights) -> dict[str, Program]:
    """Return `decode`, of z and the label; of a hierarchical model also `decode_scales`, as the methods."""
    given = [keras.Input((vae.latent_dim,)), *([keras.Input((), dtype="int32")] * bool(vae.num_classes))]

    def decode(z, y=None):
        return vae.likelihood.mean(vae.descend(z, y))

    programs = {"decode": Program(decode, given, weights)}
    if vae.scales:
        scales = [scale for scale in vae.scales if scale.blocks]
        below = [keras.Input((*scale.size, scale.latents * scale.blocks)) for scale in scales]

        def decode_scales(*tensors):
            z, y = tensors[0], tensors[1] if vae.num_classes else None
            parts = zip(tensors[len(given) :], scales, strict=True)
            blocks = (part for a, scale in parts for part in keras.ops.split(a, scale.blocks, axis=-1))
            return vae.likelihood.mean(vae.descend(z, y, lambda *_: next(blocks)))

        programs["decode_scales"] = Program(decode_scales, [*given, *below], weights)
    return programs


def _plane(z_mean: np.ndarray) -> dict | None:
    """Return the plane of the first two principal components; two latents are their own, one has none."""
    if z_mean.shape[1] < 2:
        return None
    if z_mean.shape[1] == 2:
        origin, axes, names = np.zeros(2), np.eye(2), ["z0", "z1"]
    else:
        with np.errstate(invalid="ignore"):  # codes that are all equal have no variance to share
            origin, axes, shares = principal_plane(z_mean)
        shares = np.nan_to_num(shares)
        names = [f"principal component {i}, {share:.0%} of variance" for i, share in enumerate(shares, 1)]
    points = (z_mean - origin) @ axes.T
    half = max(REACH, 1.1 * float(np.quantile(np.abs(points).max(axis=1), SHOWN)))
    return {
        "origin": packed(origin),
        "axes": packed(axes),
        "names": names,
        "points": packed(points),
        "half": half,
    }


def _sliders(z_mean: np.ndarray, z_log_var: np.ndarray) -> list[dict]:
    """Return the latents of the highest rates, with the range of each: that of z drawn from q(z|x)."""
    rates, mean = rate_per_dim(z_mean, z_log_var), z_mean.mean(axis=0)
    deviation = np.sqrt(z_mean.var(axis=0) + np.exp(z_log_var).mean(axis=0))
    low, high = mean - REACH * deviation, mean + REACH * deviation
    return [
        {"dim": int(i), "rate": float(rates[i]), "low": float(low[i]), "high": float(high[i])}
        for i in np.argsort(-rates, kind="stable")[:N_SLIDERS]
    ]


def _images(vae: VAE, x: np.ndarray, y: np.ndarray | None) -> dict:
    """Return a few test images of all classes, their latents, and what the library decodes from the first."""
    n = int(np.clip(IMAGE_BYTES // x[0].size, N_CHECKED, N_IMAGES))
    rows = _of_each_class(np.zeros(len(x), int) if y is None else y)[:n]
    x, y = x[rows], None if y is None else y[rows]
    labels = y if vae.num_classes else None
    z, *scales = vae.encode_scales(x, labels)
    first = slice(N_CHECKED)
    decoded = vae.decode(z[first], None if labels is None else labels[first], temperature=0.0)
    return {
        "pixels": packed(x, "uint8"),
        "labels": packed(np.zeros(len(x)) if y is None else y, "uint16"),
        "codes": packed(z),
        "scales": [packed(a) for a in scales],
        "decoded": packed(decoded, "uint8"),
    }


def _of_each_class(y: np.ndarray) -> np.ndarray:
    """Return the rows of all labels: the first of each class, then the second of each, ..."""
    rank = np.empty(len(y), int)
    for label in np.unique(y):
        rank[y == label] = np.arange(np.sum(y == label))
    return np.lexsort((y, rank))


def _draws(vae: VAE, kept: KeptMixture | None, n_classes: int) -> dict:
    """Return codes drawn from the better prior, as of `Run.sample`, and the labels of a conditional model."""
    n = max(N_DRAWS, n_classes)
    labels = np.arange(n) % n_classes if vae.num_classes else None
    mixture = kept is not None and kept.better == "mixture"
    z = kept.mixture.sample(n, labels) if mixture else vae.sample_prior(n, labels)
    prior = "a mixture of Gaussians fitted to the codes" if mixture else "the model's prior"
    labels = packed(np.zeros(n) if labels is None else labels, "uint16")
    return {"prior": prior, "codes": packed(z), "labels": labels}
