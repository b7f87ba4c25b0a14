"""Priors over z: N(0, I); a Gaussian for each class and a small flow, learned with the model. Keras ops only.

A prior takes the labels of a conditional model, integers (batch,), and is then p(z|y); y is None otherwise.
"""

import math

import keras
from keras import layers, ops

from vae_lib.config import TrainConfig, check_prior
from vae_lib.models.networks import dtype_policy


class NormalPrior:
    """N(0, I): the KL of a diagonal Gaussian from it has a closed form."""

    name = "normal"

    def rate(self, z, z_mean, z_log_var, y=None):
        """Return KL(q(z|x) || p(z)) in nats, shape (batch,); z is not needed."""
        return 0.5 * ops.sum(ops.square(z_mean) + ops.exp(z_log_var) - z_log_var - 1.0, axis=1)

    def log_prob(self, z, y=None):
        """Return log p(z) in nats, shape (batch,)."""
        return normal_log_prob(z, 0.0, 0.0)

    def from_normal(self, u, y=None):
        """Turn draws of N(0, I) into draws of the prior."""
        return u


@keras.saving.register_keras_serializable(package="vae_lib")
class GaussianPrior(layers.Layer):
    """A diagonal Gaussian for each class, means and variances learned with the model."""

    def __init__(self, latent_dim: int, num_classes: int, **kwargs):
        super().__init__(**kwargs)
        spread = keras.initializers.RandomNormal(0.5, seed=0)  # equal classes would be slow to part
        self.means = self.add_weight(shape=(num_classes, latent_dim), initializer=spread, name="means")
        self.log_vars = self.add_weight(shape=(num_classes, latent_dim), initializer="zeros", name="log_vars")
        self.built = True

    def _of_class(self, y):
        y = ops.cast(y, "int32")
        return ops.take(self.means, y, axis=0), ops.take(self.log_vars, y, axis=0)

    def rate(self, z, z_mean, z_log_var, y):
        """Return KL(q(z|x) || p(z|y)) in nats, shape (batch,); z is not needed."""
        return gaussian_rate((z_mean, z_log_var), self._of_class(y), axis=1)

    def log_prob(self, z, y):
        """Return log p(z|y) in nats, shape (batch,)."""
        return normal_log_prob(z, *self._of_class(y))

    def from_normal(self, u, y):
        """Turn draws of N(0, I) into draws of p(z|y)."""
        mean, log_var = self._of_class(y)
        return mean + ops.exp(0.5 * log_var) * u


@keras.saving.register_keras_serializable(package="vae_lib")
class FlowPrior(layers.Layer):
    """A stack of affine couplings that takes z to u, distributed as N(0, I).

    Each coupling leaves one half of z as it is and scales and shifts the other by functions of the first,
    and of the label if there are classes; the halves swap roles from one to the next. It starts as the
    identity, so as N(0, I).

    Source: Dinh et al. 2017, arXiv:1605.08803 (couplings); Chen et al. 2017, arXiv:1611.02731 (as a prior).
    """

    def __init__(
        self, latent_dim: int, n_couplings: int = 6, units: int = 64, num_classes: int = 0, **kwargs
    ):
        super().__init__(**kwargs)
        check_prior("flow", latent_dim)
        self.latent_dim, self.n_couplings, self.units = latent_dim, n_couplings, units
        self.num_classes = num_classes
        self.half = latent_dim // 2
        self.networks = [self._make_network(i) for i in range(n_couplings)]
        self.built = True

    def _make_network(self, i: int) -> keras.Model:
        kept = self.half if i % 2 == 0 else self.latent_dim - self.half
        given = keras.Input((kept + self.num_classes,))
        hidden = layers.Dense(self.units, activation="gelu")(given)
        out = layers.Dense(2 * (self.latent_dim - kept), kernel_initializer="zeros")(hidden)
        return keras.Model(given, out, name=f"coupling_{i}")

    def _couple(self, z, i: int, y, inverse: bool = False):
        """Apply coupling i or its inverse; return the new z and the log-scales of the half that it moves."""
        first, second = ops.split(z, [self.half], axis=-1)
        kept, moved = (first, second) if i % 2 == 0 else (second, first)
        label = [ops.one_hot(ops.cast(y, "int32"), self.num_classes)] if self.num_classes else []
        given = ops.concatenate([kept, *label], axis=-1)
        log_scale, shift = ops.split(self.networks[i](given), 2, axis=-1)
        log_scale = ops.tanh(log_scale)
        moved = (moved - shift) * ops.exp(-log_scale) if inverse else moved * ops.exp(log_scale) + shift
        return ops.concatenate([kept, moved] if i % 2 == 0 else [moved, kept], axis=-1), log_scale

    def log_prob(self, z, y=None):
        """Return log p(z) in nats, shape (batch,)."""
        log_scales = []
        for i in range(self.n_couplings):
            z, log_scale = self._couple(z, i, y)
            log_scales.append(log_scale)
        return normal_log_prob(z, 0.0, 0.0) + ops.sum(ops.concatenate(log_scales, axis=-1), axis=-1)

    def rate(self, z, z_mean, z_log_var, y=None):
        """Estimate KL(q(z|x) || p(z)) in nats by the one z drawn from q(z|x), shape (batch,)."""
        return normal_log_prob(z, z_mean, z_log_var) - self.log_prob(z, y)

    def from_normal(self, u, y=None):
        """Turn draws of N(0, I) into draws of the prior: the couplings, inverted, in reverse."""
        for i in reversed(range(self.n_couplings)):
            u, _ = self._couple(u, i, y, inverse=True)
        return u


def normal_log_prob(z, mean, log_var):
    """Return log N(z; mean, exp(log_var)) in nats, summed over the last axis."""
    terms = ops.square(z - mean) * ops.exp(-log_var) + log_var + math.log(2.0 * math.pi)
    return -0.5 * ops.sum(terms, axis=-1)


def gaussian_rate(q, p, axis):
    """Return KL(q || p) in nats of two Gaussians, each a mean and a log-variance, summed over the axes."""
    (q_mean, q_log_var), (p_mean, p_log_var) = q, p
    distance = (ops.square(q_mean - p_mean) + ops.exp(q_log_var)) * ops.exp(-p_log_var)
    return 0.5 * ops.sum(distance + p_log_var - q_log_var - 1.0, axis=axis)


@dtype_policy("float32")  # a prior is part of the loss, which is computed in float32
def make_prior(name: str, latent_dim: int, num_classes: int = 0) -> NormalPrior | GaussianPrior | FlowPrior:
    """Return the prior called `normal`, `gaussian` or `flow`; with classes, the last two are p(z|y)."""
    if TrainConfig.check("prior", name) == "flow":
        return FlowPrior(latent_dim, num_classes=num_classes)
    return GaussianPrior(latent_dim, num_classes) if name == "gaussian" else NormalPrior()
