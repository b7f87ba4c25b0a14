"""HierarchicalVAE: a VAE whose latents lie on several scales, inferred from the coarsest to the finest.

z_1, a vector, stands at the top, as in a flat VAE. Below it a state of feature maps runs from coarse to fine.
At each scale blocks draw latents z (height, width, channels) from a prior that the state gives, or from a
posterior that sees the encoder's features too, and add them to the state:

    p(x, z) = p(z_1) p(z_2|z_1) ... p(x|z)        q(z|x) = q(z_1|x) q(z_2|z_1, x) ...

Source: Sønderby et al. 2016, arXiv:1602.02282 (ladder); Child 2021, arXiv:2011.10650 (blocks, stability).
"""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from vae_lib.config import TrainConfig
from vae_lib.latent_space import interpolate
from vae_lib.models.networks import (
    Sampling,
    bounded,
    bounded_log_var,
    residual_block,
    stage_sizes,
    upsample,
    with_label,
)
from vae_lib.models.priors import gaussian_rate, normal_log_prob
from vae_lib.models.vae import VAE, as_bytes, as_float32, check_pairs, compiled, in_batches
from vae_lib.utils.errors import InputError

LATENTS = (16, 8, 4)  # channels of z by scale, from the coarsest; finer scales have as many as the last
MAX_LOG_VAR = 4.0  # of priors, either way
# Bounds that means and log-variances hardly reach on ordinary images: an image unlike all others would be
# drawn farther out from scale to scale, to millions of nats.
FAR, WIDE = 10.0, 0.5
WILD = 5.0  # a gradient of so many times the usual norm is not applied
MEMORY = 0.99  # of the usual norm, from one step to the next


class Scale(NamedTuple):
    """One size of feature maps, and the latents on it."""

    size: tuple[int, int]
    latents: int  # channels of z
    blocks: int

    @property
    def name(self) -> str:
        """`7x7`, as in `rate_7x7`."""
        return f"{self.size[0]}x{self.size[1]}"


class Latents(NamedTuple):
    """z of one block, and the means and log-variances of its prior and posterior: (batch, h, w, channels)."""

    z: tf.Tensor
    prior: tuple[tf.Tensor, tf.Tensor]
    posterior: tuple[tf.Tensor, tf.Tensor]

    def rate(self):
        """Return KL(q || p) in nats, shape (batch,)."""
        return gaussian_rate(self.posterior, self.prior, axis=(1, 2, 3))

    def log_ratio(self):
        """Return log p(z) - log q(z) in nats, shape (batch,)."""
        return ops.sum(
            normal_log_prob(self.z, *self.prior) - normal_log_prob(self.z, *self.posterior), (1, 2)
        )


class LatentBlock(layers.Layer):
    """Latents of one scale: their prior and their posterior, and what they add to the state.

    Args:
        size: (height, width).
        width: Channels of the state and of the encoder's features.
        latents: Channels of z.
    """

    def __init__(self, size: tuple[int, int], width: int, latents: int, **kwargs):
        super().__init__(**kwargs)
        state, features, z = (keras.Input((*size, channels)) for channels in (width, width, latents))
        active = layers.Activation("gelu")(state)
        prior = layers.Conv2D(2 * latents, 3, padding="same", kernel_initializer="zeros")(active)  # N(0, I)
        offset = layers.Concatenate()([active, features])
        small = keras.initializers.VarianceScaling(0.1)
        offset = layers.Conv2D(2 * latents, 3, padding="same", kernel_initializer=small)(offset)
        changed = residual_block(layers.Add()([state, layers.Conv2D(width, 1)(z)]))
        self.prior_net = keras.Model(state, prior)
        self.offset_net = keras.Model([state, features], offset)  # of the posterior from the prior
        self.update_net = keras.Model([state, z], changed)
        self.networks = [self.prior_net, self.offset_net, self.update_net]
        self.sampling = Sampling()
        self.built = True

    def prior(self, state):
        """Return mean and log-variance of p(z|state), each (batch, height, width, latents)."""
        mean, log_var = ops.split(as_float32(self.prior_net(state)), 2, axis=-1)
        return bounded(mean, -FAR, FAR), MAX_LOG_VAR * ops.tanh(log_var / MAX_LOG_VAR)

    def infer(self, state, features, mean_only: bool) -> Latents:
        """Return z, drawn from q(z|state, x) or its mean, with p(z|state) and q(z|state, x).

        The network gives how far q's mean and log-variance are from p's. Were the distance of the means in
        units of p's deviation, p would have no part in the rate, and would learn more slowly.
        Source: Vahdat and Kautz 2020, arXiv:2007.03898, section 3.2 (residual normal distributions).
        """
        mean, log_var = self.prior(state)
        shift, log_ratio = ops.split(as_float32(self.offset_net([state, features])), 2, axis=-1)
        shift, log_ratio = bounded(shift, -FAR, FAR), bounded(bounded_log_var(log_ratio), -FAR, WIDE)
        posterior = mean + shift, log_var + log_ratio
        z = posterior[0] if mean_only else self.sampling(*posterior)
        return Latents(z, (mean, log_var), posterior)


@keras.saving.register_keras_serializable(package="vae_lib")
class HierarchicalVAE(VAE):
    """A VAE with latents on several scales, for the images, likelihoods, priors and labels that VAE takes.

    `latent_dim` and `prior` are those of z_1, the vector at the top: `encode` returns its code, and `decode`
    draws all finer latents from the model's own priors, given it. `rate` is the sum over scales, each of
    which is reported too: `rate_1x1`, `rate_4x4`, ... A step whose gradient has 5 times the usual norm is
    skipped, and counted as `skipped`.

    Args:
        image_shape: (height, width, channels).
        network: `hierarchical`, as in TrainConfig.
        scale_latents: Channels of z at the scales below z_1, the coarsest first: from at most 4 pixels a side
            to half the image. Scales that are not listed have no latents; None takes 16, 8, 4, 4, ...
        scale_blocks: Blocks of these scales, each with a z of its own; None takes 1, and 2 at the finest.
        width: Half the channels of the finest scale, a quarter of those of all others.
        options: Those of VAE.

    Raises:
        InputError: If an argument has a value that is not allowed.
    """

    def __init__(self, image_shape: tuple[int, int, int], network: str = "hierarchical", **options):
        super().__init__(image_shape, network=network, **options)
        self.usual_norm = self.add_weight(shape=(), initializer="zeros", trainable=False, name="usual_norm")
        self.skipped = keras.metrics.Sum(name="skipped")

    def make_networks(self, config: TrainConfig) -> list[keras.Model]:
        """Make the encoder, the top of the decoder, the blocks of each scale and the steps between scales."""
        sizes, width, dense_units = stage_sizes(self.image_shape), config.width, config.dense_units
        self.scales = make_scales(sizes, config.scale_latents, config.scale_blocks)
        widths = [4 * width] * (len(self.scales) - 1) + [2 * width]
        self.encoder = self._make_encoder(widths, dense_units)
        self.top = self._make_top(widths[0], dense_units)
        self.blocks, self.steps = [], []
        outputs = [*widths[1:], self.likelihood.n_params(self.image_shape[-1])]
        for i, (scale, channels) in enumerate(zip(self.scales, widths, strict=True)):
            self.blocks += [LatentBlock(scale.size, channels, scale.latents) for _ in range(scale.blocks)]
            state = keras.Input((*scale.size, channels))
            finer = upsample(layers.Activation("gelu")(state), outputs[i], sizes[-2 - i], activation=None)
            self.steps.append(keras.Model(state, finer))
        self.reseed(config.seed, 0)
        inside = [network for block in self.blocks for network in block.networks]
        return [self.encoder, self.top, *self.steps, *inside]

    def _make_encoder(self, widths: list[int], dense_units: int) -> keras.Model:
        """Return the network x (batch, h, w, c) in [-1, 1] -> z_mean, z_log_var, features of each scale."""
        x = image = keras.Input(self.image_shape)
        features = []
        for channels in reversed(widths):
            x = layers.Conv2D(channels, 4, strides=2, padding="same", activation="gelu")(x)
            features.insert(0, x)
        inputs, x = with_label(image, layers.Flatten()(x), self.num_classes)
        x = layers.Dense(dense_units, activation="gelu")(x)
        z_mean = layers.Dense(self.latent_dim, name="z_mean")(x)
        z_log_var = layers.Dense(self.latent_dim, activation=bounded_log_var, name="z_log_var")(x)
        return keras.Model(inputs, [z_mean, z_log_var, *features], name="encoder")

    def _make_top(self, channels: int, dense_units: int) -> keras.Model:
        """Return the network z_1 (batch, latent_dim) -> the state at the coarsest scale."""
        z, (height, width) = keras.Input((self.latent_dim,)), self.scales[0].size
        inputs, x = with_label(z, z, self.num_classes)
        x = layers.Dense(dense_units, activation="gelu")(x)
        x = layers.Dense(height * width * channels)(x)
        return keras.Model(inputs, layers.Reshape((height, width, channels))(x), name="top")

    def _names_of_means(self) -> tuple[str, ...]:
        return (*super()._names_of_means(), *self.rate_names)

    @property
    def rate_names(self) -> list[str]:
        """The keys of the rates by scale, the coarsest first: `rate_1x1`, that of z_1, `rate_4x4`, ..."""
        return ["rate_1x1", *(f"rate_{scale.name}" for scale in self.scales if scale.blocks)]

    @property
    def metrics(self):
        """The trackers, and the number of steps that were skipped."""
        return [*self.trackers, self.skipped]

    def reseed(self, seed: int, step: int) -> None:
        """Make the noise of all latents and of pixels that follows a pure function of (seed, step)."""
        super().reseed(seed, step)
        for i, block in enumerate(self.blocks):
            block.sampling.reseed((seed + 1_000_003 * (i + 1)) % 2**32, step)

    # --- From coarse to fine ----------------------------------------------------------------------------
    def descend(self, z, y=None, choose: Callable | None = None):
        """Return params of p(x|z), from z_1 and the z that `choose(scale index, block, state)` returns.

        By default all but z_1 are at the means of their priors.
        """
        choose = choose or (lambda i, block, state: block.prior(state)[0])
        state, blocks = self.top(self._with_label(z, y)), iter(self.blocks)
        for i, scale in enumerate(self.scales):
            for block in itertools.islice(blocks, scale.blocks):
                state = block.update_net([state, choose(i, block, state)])
            state = self.steps[i](state)
        return as_float32(state)

    def _infer(self, z, features, y, mean_only: bool = False):
        """Return params, and by scale a list of Latents: drawn from q(z|x), or at its means."""
        inferred = [[] for _ in self.scales]

        def choose(i, block, state):
            inferred[i].append(block.infer(state, features[i], mean_only))
            return inferred[i][-1].z

        return self.descend(z, y, choose), inferred

    def _generate(self, z, y, temperature):
        """Return params for z_1; finer latents are drawn from their priors."""

        def choose(i, block, state):
            mean, log_var = block.prior(state)
            return mean + temperature * (block.sampling(mean, log_var) - mean)

        return self.descend(z, y, choose)

    def call(self, x, y=None, training=False):
        """Return params of p(x|z), z_1, and z_mean and z_log_var of z_1; all z are drawn from q(z|x)."""
        z_mean, z_log_var, *features = self.features(x, y)
        z = self.sampling(z_mean, z_log_var)
        return self._infer(z, features, y)[0], z, z_mean, z_log_var

    def features(self, x, y=None):
        """Return z_mean and z_log_var of z_1, and the encoder's features of each of `scales`."""
        z_mean, z_log_var, *features = super()._encode(x, y)
        return bounded(z_mean, -FAR, FAR), bounded(z_log_var, -FAR, WIDE), *features

    def _encode(self, x, y=None, training=False):
        return self.features(x, y)[:2]

    def _decode(self, z, y=None, training=False):
        return self.descend(z, y)

    def _elbo_terms(self, x, y=None, training=False):
        """Return `elbo`, `distortion`, `rate` and the rate of each scale in nats, each of shape (batch,)."""
        x = self._pixels(x)
        z_mean, z_log_var, *features = self.features(x, y)
        z = self.sampling(z_mean, z_log_var)
        params, inferred = self._infer(z, features, y)
        rates = [self.prior.rate(z, z_mean, z_log_var, y)]
        rates += [sum(latents.rate() for latents in scale) for scale in inferred if scale]
        distortion, rate = -self.likelihood.log_prob(x, params), sum(rates)
        terms = {"elbo": -distortion - rate, "distortion": distortion, "rate": rate}
        return terms | dict(zip(self.rate_names, rates, strict=True))

    def _log_weights(self, x, y, n_samples):
        x = self._pixels(x)
        encoded = self.features(x, y)
        x, z_mean, z_log_var, *features = (tf.repeat(a, n_samples, axis=0) for a in (x, *encoded))
        y = None if y is None else tf.repeat(y, n_samples)
        z = self.sampling(z_mean, z_log_var)
        params, inferred = self._infer(z, features, y)
        log_weights = self.likelihood.log_prob(x, params) + self.prior.log_prob(z, y)
        log_weights -= normal_log_prob(z, z_mean, z_log_var)
        log_weights += sum(latents.log_ratio() for scale in inferred for latents in scale)
        return tf.reshape(log_weights, (-1, n_samples))

    def _elbo_up_to(self, x, y, n_scales: int):
        """Return the ELBO with z_1 and n_scales more inferred, all finer latents drawn from their priors."""
        x = self._pixels(x)
        z_mean, z_log_var, *features = self.features(x, y)
        z = self.sampling(z_mean, z_log_var)
        rates = [self.prior.rate(z, z_mean, z_log_var, y)]

        def choose(i, block, state):
            if i >= n_scales:
                return block.sampling(*block.prior(state))
            inferred = block.infer(state, features[i], mean_only=False)
            rates.append(inferred.rate())
            return inferred.z

        return self.likelihood.log_prob(x, self.descend(z, y, choose)) - sum(rates)

    def apply_gradients(self, gradients) -> None:
        """Apply gradients, but neither those far above the usual norm nor those that are not finite."""
        norm, usual = tf.linalg.global_norm(gradients), self.usual_norm
        finite = tf.math.is_finite(norm)
        usual.assign(tf.where(finite & (usual == 0.0), norm, usual))  # of the first step
        fits = finite & (norm <= WILD * usual)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            fits = fits | ~finite  # they tell it to scale the loss by less
        if not self.optimizer.built:  # no variable can be made within a condition
            self.optimizer.build(self.trainable_variables)
        tf.cond(fits, lambda: self._apply(gradients), lambda: False)
        followed = tf.where(fits, MEMORY * usual + (1.0 - MEMORY) * norm, usual / MEMORY)
        usual.assign(tf.where(finite, followed, usual))
        self.skipped.update_state(1.0 - ops.cast(fits, "float32"))

    def _apply(self, gradients) -> bool:
        super().apply_gradients(gradients)
        return True

    def train_step(self, data):
        """As that of VAE; the number of steps that were skipped is reported too."""
        return {**super().train_step(data), "skipped": self.skipped.result()}

    def _compile_batch_functions(self) -> None:
        super()._compile_batch_functions()
        mean, draw = self.likelihood.mean, self.likelihood.draw

        def decoded(latents, y, temperature):  # z_1 alone, or the z of every block after it
            if len(latents) == 1:
                return self._generate(latents[0], y, temperature)
            z, below = latents[0], iter(latents[1:])
            return self.descend(z, y, lambda *_: next(below))

        def inferred(x, y):
            z_mean, _, *features = self.features(x, y)
            scales = self._infer(z_mean, features, y, mean_only=True)[1]
            return [z_mean, *(latents.z for scale in scales for latents in scale)]

        self._infer_batch = compiled(inferred)
        self._elbo_up_to_batch = compiled(self._elbo_up_to)
        self._mean_batch = compiled(lambda z, y, t: as_bytes(mean(decoded(z, y, t))))
        self._draw_batch = compiled(lambda z, y, t: as_bytes(draw(decoded(z, y, t), self.pixel_noise)))

    # --- Arrays in, arrays out --------------------------------------------------------------------------
    def elbo_by_scale(self, x, y=None, seed: int = 0) -> dict[str, np.ndarray]:
        """Return the ELBO in nats, shape (n,), with the latents up to each scale inferred.

        Those finer are drawn from their priors: it says how well the coarse scales alone explain an image.
        The keys are the scales as in `rate_names`, the coarsest first; of the last, it is the whole ELBO.
        Source: Havtorn et al. 2021, arXiv:2102.08248.
        """
        x, y = self.check_images(x), self._labels(y, len(x))
        counts = [0, *(i + 1 for i, scale in enumerate(self.scales) if scale.blocks)]
        bounds = {}
        for name, n_scales in zip(self.rate_names, counts, strict=True):
            self.reseed(seed, 0)
            batch = functools.partial(self._elbo_up_to_batch, n_scales=n_scales)
            bounds[name.removeprefix("rate_")] = in_batches(batch, x, y, self.images_at_once)
        return bounds

    def encode_scales(self, x, y=None) -> list[np.ndarray]:
        """Return the latents of images, each the mean of its posterior: z_1, and one array for each scale.

        Shapes (n, latent_dim) and (n, height, width, blocks x channels), the coarsest scale first.
        """
        z, *blocks = in_batches(
            self._infer_batch, self.check_images(x), self._labels(y, len(x)), self.images_at_once
        )
        blocks = iter(blocks)
        per_scale = ([next(blocks) for _ in range(scale.blocks)] for scale in self.scales)
        return [z, *(np.concatenate(arrays, axis=-1) for arrays in per_scale if arrays)]

    def decode_scales(self, latents, y=None) -> np.ndarray:
        """Return the means of p(x|z), uint8 (n, h, w, c), for latents as `encode_scales` returns them."""
        z, *below = (np.asarray(a, dtype="float32") for a in latents)
        counts = [scale.blocks for scale in self.scales if scale.blocks]
        blocks = [part for a, n in zip(below, counts, strict=True) for part in np.split(a, n, axis=-1)]
        return self._decode_latents([z, *blocks], y)

    def decode(self, z, y=None, draw: bool = False, seed: int = 0, temperature: float = 1.0) -> np.ndarray:
        """Return images uint8 (n, h, w, c) for z_1; finer latents are drawn from the model's priors, by seed.

        Args:
            z: z_1, shape (n, latent_dim).
            y: Labels of a conditional model, (n,), or one for all.
            draw: Whether to draw pixels from p(x|z), in place of its mean.
            seed: Of all noise.
            temperature: Scale of the noise of the finer latents; 0 takes the means of their priors.
        """
        z = self._codes(z)
        return self._decode_latents([z], y, draw, seed, temperature)

    def _decode_latents(self, latents, y, draw=False, seed=0, temperature=1.0) -> np.ndarray:
        self.reseed(seed, 0)
        batch, t = self._draw_batch if draw else self._mean_batch, tf.constant(temperature, "float32")
        labels = self._labels(y, len(latents[0]))
        return in_batches(lambda z, y: batch(z, y, t), latents, labels, self.images_at_once)

    def reconstruct(self, x, y=None) -> np.ndarray:
        """Return uint8 images: the means of p(x|z), every latent at the mean of its posterior."""
        return self.decode_scales(self.encode_scales(x, y), y)

    def interpolate(self, x_from, x_to, steps: int = 8, spherical: bool = False, y=None) -> np.ndarray:
        """Return uint8 images (n, steps, h, w, c) between two reconstructions, along all scales."""
        check_pairs(x_from, x_to)
        ends = zip(self.encode_scales(x_from, y), self.encode_scales(x_to, y), strict=True)
        n = len(x_from)
        paths = []
        for start, end in ends:
            path = interpolate(start.reshape(n, -1), end.reshape(n, -1), steps, spherical)
            paths.append(path.reshape(n * steps, *start.shape[1:]))
        labels = None if self._labels(y, n) is None else np.repeat(self._labels(y, n), steps)
        return self.decode_scales(paths, labels).reshape(n, steps, *self.image_shape)

    def mix_levels(self, x_top, x_bottom, split: int, y=None) -> np.ndarray:
        """Return uint8 images with the coarse latents of one image and the fine ones of another.

        Args:
            x_top: Images that give the first `split` scales, z_1 being the first.
            x_bottom: As many images, which give all others.
            split: From 0, all of `x_bottom`, to the number of scales, all of `x_top`.
            y: Labels of a conditional model, for both.
        Source: Karras et al. 2019, arXiv:1812.04948 (style mixing).
        """
        check_pairs(x_top, x_bottom)
        coarse, fine = self.encode_scales(x_top, y), self.encode_scales(x_bottom, y)
        if not isinstance(split, int | np.integer) or not 0 <= split <= len(coarse):
            raise InputError(f"split must be an integer from 0 to {len(coarse)}; received {split!r}")
        return self.decode_scales([*coarse[:split], *fine[split:]], y)


def make_scales(sizes, scale_latents=None, scale_blocks=None) -> list[Scale]:
    """Return the scales of a model, the coarsest first.

    Args:
        sizes: Heights and widths as of `stage_sizes`, from the image down to the coarsest.
        scale_latents: As HierarchicalVAE takes them.
        scale_blocks: As HierarchicalVAE takes them.

    Raises:
        InputError: If more are given than there are scales.
    """
    sizes = sizes[:0:-1]
    n = len(sizes)
    defaults = {"scale_latents": (*LATENTS, *n * LATENTS[-1:])[:n], "scale_blocks": (*(n - 1) * (1,), 2)}
    chosen = []
    for (name, default), given in zip(defaults.items(), (scale_latents, scale_blocks), strict=True):
        if given is not None and len(given) > n:
            names = ", ".join(f"{height}x{width}" for height, width in sizes)
            raise InputError(
                f"{name} must be one integer for each scale, of {names}, or fewer; received {len(given)}"
            )
        chosen.append(default if given is None else (*given, *n * (0,))[:n])
    return [
        Scale(size, latents, blocks if latents else 0)
        for size, latents, blocks in zip(sizes, *chosen, strict=True)
    ]
