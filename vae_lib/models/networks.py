"""Encoders and decoders of the flat VAE: convolutions for images of any size, and an MLP to compare with."""

import contextlib
import math
import random

import keras
import numpy as np
from keras import layers, ops

from vae_lib.config import TrainConfig, check_image_shape


@contextlib.contextmanager
def dtype_policy(policy: str | keras.DTypePolicy):
    """Let the layers that are made in this block follow a dtype policy, such as `mixed_float16`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@keras.saving.register_keras_serializable(package="vae_lib")
class Sampling(layers.Layer):
    """Draw z = z_mean + exp(z_log_var / 2) * eps with eps from N(0, I): the reparameterisation trick.

    It computes in float32, whatever the global dtype policy is.

    Source: Kingma and Welling 2014, arXiv:1312.6114, section 2.4.
    """

    def __init__(self, seed: int = 0, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.seed_generator = keras.random.SeedGenerator(seed)

    def reseed(self, seed: int, step: int) -> None:
        """Make the noise that follows a pure function of (seed, step)."""
        self.seed_generator.state.assign(np.array([seed, step], dtype="uint32"))

    def call(self, z_mean, z_log_var):  # (batch, latent_dim) twice -> (batch, latent_dim)
        """Return one draw of z for each row."""
        eps = keras.random.normal(ops.shape(z_mean), dtype="float32", seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * eps


@keras.saving.register_keras_serializable(package="vae_lib")
def bounded_log_var(x):
    """Bound softly to (-10, 10): 10 tanh(x / 10), close to x near zero."""
    return 10.0 * ops.tanh(x / 10.0)


def bounded(x, low: float, high: float):
    """Leave x as it is from low to high; beyond, bend it smoothly, to at most low - 1 and high + 1."""
    return ops.clip(x, low, high) + ops.tanh(ops.relu(x - high)) - ops.tanh(ops.relu(low - x))


def stage_sizes(image_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Return height and width before and after each stride-2 stage: (28, 28), (14, 14), (7, 7), (4, 4)."""
    sizes = [tuple(image_shape[:2])]
    while max(sizes[-1]) > 4:
        sizes.append(tuple(math.ceil(side / 2) for side in sizes[-1]))
    return sizes


def stage_widths(image_shape: tuple[int, int, int], width: int) -> list[int]:
    """Return the channels of each stage: `width`, doubled stage by stage up to 8 times `width`."""
    n_stages = len(stage_sizes(image_shape)) - 1
    return [width * 2 ** min(stage, 3) for stage in range(n_stages)]


def make_encoder(image_shape, latent_dim, network, width, dense_units, num_classes=0) -> keras.Model:
    """Return the network x (batch, h, w, c) in [-1, 1] -> z_mean, z_log_var (batch, latent_dim).

    With classes it takes [x, one-hot labels (batch, num_classes)].

    Raises:
        InputError: If there is no such network, or it does not take images of this shape.
    """
    check_image_shape(image_shape, "image_shape", "resize them")
    TrainConfig.check("network", network)
    x = image = keras.Input(image_shape)
    if network != "mlp":
        for filters in stage_widths(image_shape, width):
            x = layers.Conv2D(filters, 4, strides=2, padding="same", activation="gelu")(x)
            x = residual_block(x) if network == "resnet" else x
    x = layers.Flatten()(x)
    inputs, x = with_label(image, x, num_classes)
    for _ in range(2 if network == "mlp" else 1):
        x = layers.Dense(dense_units, activation="gelu")(x)
    z_mean = layers.Dense(latent_dim, name="z_mean")(x)
    # Softly bounded: exp(z_log_var) can neither overflow nor vanish, and the gradient never dies.
    z_log_var = layers.Dense(latent_dim, activation=bounded_log_var, name="z_log_var")(x)
    return keras.Model(inputs, [z_mean, z_log_var], name="encoder")


def make_decoder(
    image_shape, latent_dim, network, width, dense_units, n_params, num_classes=0
) -> keras.Model:
    """Return the network z (batch, latent_dim) -> params (batch, h, w, n_params).

    With classes it takes [z, one-hot labels (batch, num_classes)]. The convolutional one goes straight from
    half resolution to the image: feature maps of full resolution cost most and improve little. Sizes that
    the encoder rounded up are cropped here.
    """
    z = keras.Input((latent_dim,))
    inputs, x = with_label(z, z, num_classes)
    x = layers.Dense(dense_units, activation="gelu")(x)
    params_shape = (*image_shape[:2], n_params)
    if network == "mlp":
        x = layers.Dense(dense_units, activation="gelu")(x)
        x = layers.Reshape(params_shape)(layers.Dense(math.prod(params_shape))(x))
        return keras.Model(inputs, x, name="decoder")
    sizes, widths = stage_sizes(image_shape), stage_widths(image_shape, width)
    outputs = [n_params, *widths[:-1]]
    x = layers.Dense(math.prod(sizes[-1]) * widths[-1], activation="gelu")(x)
    x = layers.Reshape((*sizes[-1], widths[-1]))(x)
    for stage in reversed(range(len(widths))):
        x = residual_block(x) if network == "resnet" else x
        x = upsample(x, outputs[stage], sizes[stage], "gelu" if stage else None)
    return keras.Model(inputs, x, name="decoder")


def upsample(x, filters: int, size: tuple[int, int], activation: str | None = "gelu"):
    """Double height and width by a transposed convolution; crop to `size`, which the encoder rounded up."""
    x = layers.Conv2DTranspose(filters, 4, strides=2, padding="same", activation=activation)(x)
    crop = [(0, x.shape[axis + 1] - size[axis]) for axis in (0, 1)]
    return layers.Cropping2D(crop)(x) if any(extra for _, extra in crop) else x


def residual_block(x):
    """Add to x what a bottleneck of half its channels makes of it; at first, next to nothing.

    Source: He et al. 2016, arXiv:1603.05027; the small first step: Child 2021, arXiv:2011.10650.
    """
    channels = x.shape[-1]
    hidden = layers.Conv2D(max(1, channels // 2), 1)(layers.Activation("gelu")(x))
    hidden = layers.Conv2D(max(1, channels // 2), 3, padding="same")(layers.Activation("gelu")(hidden))
    small = keras.initializers.VarianceScaling(0.01)
    return layers.Add()(
        [x, layers.Conv2D(channels, 1, kernel_initializer=small)(layers.Activation("gelu")(hidden))]
    )


def initialize(network: keras.Model, seed: int) -> None:
    """Draw every kernel again from its own initializer, as a function of the seed alone.

    Keras draws the seeds of initializers from Python's global generator, which other threads use too.
    """
    seeds = random.Random(seed)
    for layer in network.layers:
        initializer = getattr(layer, "kernel_initializer", None)
        if initializer is not None and "seed" in initializer.get_config():
            config = {**initializer.get_config(), "seed": seeds.randrange(2**31)}
            layer.kernel.assign(type(initializer).from_config(config)(layer.kernel.shape))


def with_label(first, x, num_classes: int):
    """Return a network's inputs, and x with the label appended where there is one."""
    if not num_classes:
        return first, x
    label = keras.Input((num_classes,))
    return [first, label], layers.Concatenate()([x, label])
