"""Scores of single images under a trained model, and those of its own test images to compare them with."""

import numpy as np
import pandas as pd

from vae_lib.data.dataset import ImageDataset
from vae_lib.metrics import novelty, reconstruction
from vae_lib.metrics.shapes import check_shapes
from vae_lib.models.vae import NOISE_SEED
from vae_lib.training.run import Run
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import atomic_write, ensure_writable


def likeliest_labels(vae, x: np.ndarray) -> np.ndarray | None:
    """Return the class under which each image has the highest ELBO, (n,); None for a model of none."""
    if not vae.num_classes:
        return None
    bounds = [elbos(vae, x, np.full(len(x), label)) for label in range(vae.num_classes)]
    return np.argmax(bounds, axis=0)


def elbos(vae, x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """Return the ELBO of each image in nats, shape (n,), float64."""
    return vae.elbo_terms(x, y, seed=NOISE_SEED)["elbo"].astype("float64")


def has_bits(vae) -> bool:
    """Whether bounds under this model are in bits per dimension; else they are in nats per image."""
    return vae.likelihood.has_bits_per_dim


def cost(vae, elbo: np.ndarray) -> np.ndarray:
    """Return -ELBO in bits per dimension, or in nats per image where the likelihood has no such bits."""
    return vae.likelihood.bits_per_dim(-elbo, vae.image_shape) if has_bits(vae) else -elbo


def score_images(vae, x: np.ndarray, reference: np.ndarray | None = None) -> tuple[pd.DataFrame, np.ndarray]:
    """Score images one by one: how likely they are, how well they are reconstructed, how typical they are.

    Args:
        vae: A VAE; a conditional one is given the class under which an image is likeliest.
        x: Images, uint8 (n, h, w, c).
        reference: ELBOs of the run's own test images, as `reference_elbos` returns them; None leaves out
            what is compared with them.

    Returns:
        A row an image, and the reconstructions, uint8. Columns: `label` of a conditional model;
        `bits_per_dim`, the bound, where the likelihood has them; `elbo`, `rate`, `distortion` in nats; `psnr`
        of the reconstruction in dB; `typicality`, the distance of the bound from the mean over the test
        images, in bits per dimension, or in nats per image where there are none; `percentile`, the share of
        the test images that are less likely, in per cent.
    """
    x = vae.as_observed(np.asarray(x))
    y = likeliest_labels(vae, x)
    terms = {name: a.astype("float64") for name, a in vae.elbo_terms(x, y, seed=NOISE_SEED).items()}
    again = vae.reconstruct(x, y)
    columns = {} if y is None else {"label": y}
    columns |= {"bits_per_dim": cost(vae, terms["elbo"])} if has_bits(vae) else {}
    columns |= {name: terms[name] for name in ("elbo", "rate", "distortion")}
    columns["psnr"] = reconstruction.psnr_of_each(x, again)
    if reference is not None:
        columns["typicality"] = novelty.typicality(cost(vae, terms["elbo"]), cost(vae, reference))
        columns["percentile"] = novelty.percentile(terms["elbo"], reference)
    return pd.DataFrame(columns), again


def reference_elbos(run: Run, data: ImageDataset | None = None) -> np.ndarray:
    """Return the ELBOs of a run's own test images in nats, (n,), computed once and kept in `reference.npz`.

    Args:
        run: A finished run.
        data: The images it was trained on; needed if nothing is kept yet.

    Raises:
        InputError: If the images are needed and not given, or are others; or if the file is damaged.
    """
    path = run.directory / "reference.npz"
    if run.has_reference:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                (elbo,) = check_shapes("", float, elbo=(arrays["elbo"], "n"))
                return elbo
        except Exception as error:  # a damaged archive raises many types
            raise InputError(f"{path} is damaged ({error}): remove it, and it is computed again") from None
    if data is None:
        raise InputError(f"the test images of {run.name} are not scored yet: pass the data it was trained on")
    data = run.own_images(data)
    ensure_writable(run.directory, "--models_dir")
    vae = run.model()
    x = vae.as_observed(np.asarray(data.x_test))
    elbo = elbos(vae, x, likeliest_labels(vae, x))
    atomic_write(path, lambda temporary: np.savez_compressed(temporary, elbo=elbo.astype("float32")))
    return elbo.astype("float32").astype("float64")  # as it is read again
