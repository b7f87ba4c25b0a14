"""Encoder and decoder of a VAE as files for other programs, each checked before it is kept."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from vae_lib.apps.formats import Format, Part, get_format
from vae_lib.config import EXPORT_FORMATS
from vae_lib.models.saved_model import image_signatures, label_signature
from vae_lib.models.vae import VAE
from vae_lib.training.run import Run
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import ensure_writable
from vae_lib.utils.runtime import silenced_stderr

N_CHECKED = 8  # images that go through each file
TOLERANCE = {"z_mean": 1e-3, "z_log_var": 1e-3, "image": 1}  # the last in grey levels, of 255


def export_model(
    run_or_vae: Run | VAE,
    directory: Path | str,
    formats: Sequence[str] = EXPORT_FORMATS,
    x: np.ndarray | None = None,
    y: np.ndarray | None = None,
) -> dict[str, float]:
    """Write `encoder` and `decoder` in each format, read them again and compare them with the model.

    The encoder takes `image`, uint8 (n, height, width, channels) as `encode` does, in a SavedModel also
    float32 in [0, 1]; it returns `z_mean` and `z_log_var`, float32 (n, latent_dim). The decoder takes `z`,
    float32 (n, latent_dim), and returns `image`: the means of p(x|z), uint8; of a hierarchical model `z` is
    z_1, and all finer latents are at the means of their priors. Those of a conditional model take a `label`
    too, int64 (n,) from 0. Files of the same names are replaced, and only once all new ones have passed.

    Args:
        run_or_vae: What is exported.
        directory: Folder for `encoder_saved_model/`, `encoder.onnx`, `encoder.tflite`, `decoder...`.
        formats: Some of `saved_model`, `onnx` (needs the extra `export`) and `litert`.
        x: Images to check with; None takes samples of the model.
        y: Their labels, for a conditional model; None takes each class in turn.

    Returns:
        The name of each file, and the largest difference of its outputs from the model's own: of codes, or
        of pixels in grey levels.

    Raises:
        InputError: If a format is unknown or needs a package, the folder cannot be written, or a format does
            not hold this model.
    """
    vae = run_or_vae.model() if isinstance(run_or_vae, Run) else run_or_vae
    names = [formats] if isinstance(formats, str) else formats
    chosen = [get_format(name, vae.dtype_policy.name) for name in names]
    directory = Path(directory)
    ensure_writable(directory)
    x, y = _images_to_check(vae, x, y)
    labels = {} if y is None else {"label": y}
    z_mean, z_log_var = vae.encode(x, y)
    cases = {
        "encoder": ({"image": x, **labels}, {"z_mean": z_mean, "z_log_var": z_log_var}),
        "decoder": ({"z": z_mean, **labels}, {"image": np.asarray(vae._decode_mean(tf.constant(z_mean), y))}),
    }
    differences = {}
    with tempfile.TemporaryDirectory(prefix=".export-", dir=directory) as temporary:
        for name, part in _parts(vae).items():
            for kind in chosen:
                path = Path(temporary) / f"{name}{kind.ending}"
                differences[path.name] = _write_and_check(part, kind, path, *cases[name])
        for name in differences:
            shutil.rmtree(directory / name, ignore_errors=True)  # a folder cannot be renamed over another
            os.replace(Path(temporary) / name, directory / name)
    return differences


def _parts(vae: VAE) -> dict[str, Part]:
    def encode(x, y=None):
        return dict(zip(("z_mean", "z_log_var"), vae._encode_batch(x, y), strict=True))

    def decode(z, y=None):
        return {"image": vae._decode_mean(z, y)}

    codes = [tf.TensorSpec((None, vae.latent_dim), "float32", name="z"), *label_signature(vae)]
    return {"encoder": Part(vae, encode, image_signatures(vae)), "decoder": Part(vae, decode, [codes])}


def _images_to_check(vae: VAE, x, y) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a few uint8 images, and their labels for a conditional model."""
    n = N_CHECKED if x is None else len(x[:N_CHECKED])
    cycle = np.arange(n) % max(vae.num_classes, 1)
    y = (cycle if y is None else np.asarray(y)[:n].astype("int64")) if vae.num_classes else None
    x = vae.sample(n, y) if x is None else vae.check_images(x[:n])
    return (np.round(255 * x) if x.dtype.kind == "f" else x).astype("uint8"), y


def _write_and_check(part: Part, kind: Format, path: Path, inputs: dict, expected: dict) -> float:
    """Write a file and read it again; return how far its outputs differ, or raise InputError."""
    with silenced_stderr(), warnings.catch_warnings(action="ignore"):  # they concern the converters' own code
        try:
            kind.write(part, path)
            return _difference(kind.read(path)(inputs), expected)
        except OSError:
            raise
        except Exception as error:  # converters and runtimes have exceptions of their own kinds
            reason = f"{str(error).strip().splitlines()[0]:.200}"
    raise InputError(f"the model cannot be written as {path.name} ({reason}): choose another --format")


def _difference(outputs: dict, expected: dict) -> float:
    """Return the largest difference of any output, or raise ValueError if it is too large."""
    differences = []
    for name, values in expected.items():
        differences.append(float(np.abs(np.asarray(outputs[name], "float64") - values).max()))
        if not differences[-1] <= TOLERANCE[name]:
            raise ValueError(f"its {name} differs from the model's by {differences[-1]:.3g}")
    return max(differences)
