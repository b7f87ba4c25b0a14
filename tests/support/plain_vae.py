"""A VAE in plain Keras, as tutorials write it, into which a test plants one fault."""

from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops


def bce_sum(x, decoded):
    """Cross-entropy summed over pixels, averaged over the batch."""
    return ops.mean(ops.sum(keras.losses.binary_crossentropy(x[..., None], decoded[..., None]), axis=1))


def kl_sum(z_mean, z_log_var):
    """KL summed over latents, averaged over the batch."""
    return ops.mean(ops.sum(-0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var)), axis=1))


def train_plain(
    x,
    x_val=None,
    reconstruction_loss=bce_sum,
    kl_loss=kl_sum,
    beta=lambda epoch: 1.0,
    activation="sigmoid",
    optimizer=None,
    epochs=12,
    latents=4,
    units=64,
    batch_size=64,
    sign=1.0,
    seed=0,
):
    """Train on flat images and return what the framework's user has then.

    Args:
        x: Training images, (n, pixels).
        x_val: Images that history and arrays are of; None takes those of the training.
        reconstruction_loss: Function of images and the decoder's output to a scalar.
        kl_loss: Function of z_mean and z_log_var to a scalar.
        beta: Function of the epoch, counted from 0.
        activation: Of the decoder's last layer.
        sign: Of the KL in the loss.

    Returns:
        `history`, a dict of lists as Keras' History has; `arrays`: x, reconstruction, z_mean, z_log_var.
    """
    keras.utils.set_random_seed(seed)
    n_pixels, rng = x.shape[1], np.random.default_rng(seed)
    encoder = keras.Sequential(
        [keras.Input((n_pixels,)), layers.Dense(units, "relu"), layers.Dense(2 * latents)]
    )
    decoder = keras.Sequential(
        [keras.Input((latents,)), layers.Dense(units, "relu"), layers.Dense(n_pixels, activation)]
    )
    optimizer = optimizer or keras.optimizers.Adam(3e-3)
    variables = encoder.trainable_variables + decoder.trainable_variables
    optimizer.build(variables)

    def losses(images, weight):
        z_mean, z_log_var = ops.split(encoder(images), 2, axis=-1)
        z = z_mean + ops.exp(0.5 * z_log_var) * tf.random.normal(tf.shape(z_mean))
        reconstruction, kl = reconstruction_loss(images, decoder(z)), kl_loss(z_mean, z_log_var)
        return reconstruction + sign * weight * kl, reconstruction, kl

    @tf.function(reduce_retracing=True)
    def step(images, weight):
        with tf.GradientTape() as tape:
            values = losses(images, weight)
        optimizer.apply_gradients(zip(tape.gradient(values[0], variables), variables, strict=True))
        return values

    names = ("loss", "reconstruction_loss", "kl_loss")
    history = {prefix + name: [] for prefix in ("", "val_")[: 1 + (x_val is not None)] for name in names}
    for epoch in range(epochs):
        order, weight = rng.permutation(len(x)), tf.constant(float(beta(epoch)))
        batches = [order[i : i + batch_size] for i in range(0, len(x) - batch_size + 1, batch_size)]
        means = np.mean([[float(v) for v in step(tf.constant(x[rows]), weight)] for rows in batches], axis=0)
        if x_val is not None:
            means = [*means, *(float(value) for value in losses(tf.constant(x_val), weight))]
        for name, value in zip(history, means, strict=True):
            history[name].append(value)
    seen = x if x_val is None else x_val
    z_mean, z_log_var = np.split(np.asarray(encoder(seen)), 2, axis=1)
    arrays = {"x": seen, "reconstruction": np.asarray(decoder(z_mean))}
    return SimpleNamespace(
        history=history, arrays=arrays | {"z_mean": z_mean, "z_log_var": z_log_var}, decoder=decoder
    )
