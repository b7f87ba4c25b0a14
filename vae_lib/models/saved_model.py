"""Functions of a model as a TensorFlow SavedModel."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf


def image_signatures(vae) -> list[list[tf.TensorSpec]]:
    """Return the inputs x and, for a conditional model, y: once with x as uint8, once as float32."""
    labels = label_signature(vae)
    shape = (None, *vae.image_shape)
    return [[tf.TensorSpec(shape, dtype, name="image"), *labels] for dtype in ("uint8", "float32")]


def label_signature(vae) -> list[tf.TensorSpec]:
    """Return the input y of a conditional model, or no input."""
    return [tf.TensorSpec((None,), "int64", name="label")] if vae.num_classes else []


def write_saved_model(
    path: Path | str,
    model: keras.Model,
    function: Callable,
    signatures: Sequence[Sequence[tf.TensorSpec]],
    verbose: bool = False,
) -> None:
    """Write a SavedModel whose endpoint `serve` is the function.

    Args:
        path: Folder to write.
        model: Whose variables the function uses.
        function: Of tensors, one for each input.
        signatures: The inputs that it takes, the first by default; two or more, and other dtypes are refused.
            With a single one TensorFlow casts: images in 0..255 to floats, or floats in [0, 1] to zeros.
        verbose: Whether to print the endpoint.
    """
    serve = tf.function(function)
    for signature in signatures:
        serve.get_concrete_function(*signature)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve)
    archive.write_out(str(path), verbose=verbose)
