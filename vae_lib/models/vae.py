"""The VAE: encoder, decoder, prior, and the ELBO between them.

Images go in and come out as arrays (n, height, width, channels): uint8 in 0..255, or float in [0, 1].
Losses are in nats: summed over pixels, channels and latents, averaged over the batch.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from vae_lib.latent_space import interpolate
from vae_lib.models.likelihoods import get_likelihood
from vae_lib.models.networks import Sampling, initialize, make_decoder, make_encoder
from vae_lib.models.priors import make_prior, normal_log_prob
from vae_lib.utils.errors import InputError


@keras.saving.register_keras_serializable(package="vae_lib")
class VAE(keras.Model):
    """A VAE for images of any height and width from 8 to 128 and 1 to 4 channels.

    The loss is distortion + beta * rate: -log p(x|z) at one z drawn from q(z|x), and KL(q(z|x) || p(z)).

    Args:
        image_shape: (height, width, channels).
        latent_dim: Size of z.
        beta: Weight of the rate in the loss. 1 gives the ELBO (Higgins et al. 2017 for other values).
        likelihood: "discretized_logistic" (8-bit pixels) or "bernoulli" (binary pixels).
        prior: "normal", N(0, I), or "flow", learned with the model.
        network: "conv", strided convolutions, or "mlp", two dense layers each way.
        width: Channels of the first stride-2 stage; each later one doubles them, up to eight times as many.
        dense_units: Units of the dense layers.
        num_classes: Condition encoder and decoder on a label, one of so many; 0 for none.
        binarize: Draw binary pixels, each on with its grey level as probability, anew at every step.
        seed: Seed of weights and noise.

    Raises:
        InputError: If an argument is not one of these.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int = 16,
        beta: float = 1.0,
        likelihood: str = "discretized_logistic",
        prior: str = "normal",
        network: str = "conv",
        width: int = 16,
        dense_units: int = 256,
        num_classes: int = 0,
        binarize: bool = False,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.image_shape = tuple(image_shape)
        self.latent_dim, self.num_classes, self.binarize = latent_dim, num_classes, binarize
        self.likelihood = get_likelihood(likelihood)
        if binarize and self.likelihood.has_bits_per_dim:
            raise InputError(f"binarize needs likelihood bernoulli; received {likelihood!r}")
        self.prior = make_prior(prior, latent_dim)
        sizes = (network, width, dense_units)
        self.encoder = self.new_encoder(*sizes)
        self.decoder = make_decoder(
            self.image_shape, latent_dim, *sizes, self.likelihood.params_per_channel, num_classes
        )
        for i, part in enumerate((self.encoder, self.decoder, *getattr(self.prior, "networks", ()))):
            initialize(part, 1000 * seed + i)
        self.sampling = Sampling(seed)
        self.pixel_noise = keras.random.SeedGenerator(seed)
        self.beta = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(beta), trainable=False, name="beta"
        )
        self.arguments = {
            **{"image_shape": list(image_shape), "latent_dim": latent_dim, "beta": float(beta)},
            **{"likelihood": likelihood, "prior": prior, "network": network, "width": width},
            **{"dense_units": dense_units, "num_classes": num_classes, "binarize": binarize, "seed": seed},
        }
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.distortion_tracker = keras.metrics.Mean(name="distortion")
        self.rate_tracker = keras.metrics.Mean(name="rate")
        self._compile_batch_functions()
        self.built = True

    def new_encoder(self, network: str, width: int, dense_units: int) -> keras.Model:
        """Return the encoder, images in [-1, 1] -> z_mean and z_log_var; a subclass may make another."""
        return make_encoder(self.image_shape, self.latent_dim, network, width, dense_units, self.num_classes)

    @property
    def metrics(self):
        """The trackers, and no other: Keras would add a second one named `loss`."""
        return [self.loss_tracker, self.distortion_tracker, self.rate_tracker]

    def reseed(self, seed: int, step: int) -> None:
        """Make the noise of z and of pixels that follows a pure function of (seed, step)."""
        self.sampling.reseed(seed, step)
        # Another key than that of z of this seed, or the two kinds of noise would be one.
        self.pixel_noise.state.assign(np.array([seed + 2**31, step], dtype="uint32"))

    def call(self, x, y=None, training=False):
        """Return params of p(x|z), z, z_mean and z_log_var for one z drawn from q(z|x)."""
        z_mean, z_log_var = self._encode(x, y, training)
        z = self.sampling(z_mean, z_log_var)
        return self._decode(z, y, training), z, z_mean, z_log_var

    def _encode(self, x, y=None, training=False):
        return self.encoder(self._with_label(2.0 * as_unit_floats(x) - 1.0, y), training=training)

    def _decode(self, z, y=None, training=False):
        return self.decoder(self._with_label(z, y), training=training)

    def _with_label(self, first, y):
        return [first, ops.one_hot(ops.cast(y, "int32"), self.num_classes)] if self.num_classes else first

    def _elbo_terms(self, x, y=None, training=False):
        """Return `elbo`, `distortion` and `rate` in nats, each of shape (batch,)."""
        x = self._pixels(x)
        params, z, z_mean, z_log_var = self(x, y, training=training)
        distortion = -self.likelihood.log_prob(x, params)
        rate = self.prior.rate(z, z_mean, z_log_var)
        return {"elbo": -distortion - rate, "distortion": distortion, "rate": rate}

    def _pixels(self, x):
        """Return x as float32 in [0, 1]; a binarising model draws 0 or 1 for each pixel."""
        x = as_unit_floats(x)
        if not self.binarize:
            return x
        return ops.cast(keras.random.uniform(ops.shape(x), seed=self.pixel_noise) < x, "float32")

    def train_step(self, data):
        """Take one gradient step on distortion + beta * rate; return the running means in nats."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            terms = self._elbo_terms(x, y, training=True)
            loss = ops.mean(terms["distortion"] + self.beta * terms["rate"])
            scaled_loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self._track(terms)

    def test_step(self, data):
        """Return the running means on held-out images, in nats."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._track(self._elbo_terms(x, y, training=False))

    def _track(self, terms):
        loss = terms["distortion"] + self.beta * terms["rate"]
        # Per-image values: a smaller last batch weighs what it holds.
        for tracker, values in zip(self.metrics, (loss, terms["distortion"], terms["rate"]), strict=True):
            tracker.update_state(values)
        return {tracker.name: tracker.result() for tracker in self.metrics}

    def _compile_batch_functions(self) -> None:
        def log_weights(x, y, n_samples):
            x = self._pixels(x)
            repeated = [tf.repeat(a, n_samples, axis=0) for a in (x, *self._encode(x, y))]
            x, z_mean, z_log_var = repeated
            z = self.sampling(z_mean, z_log_var)
            params = self._decode(z, None if y is None else tf.repeat(y, n_samples))
            log_joint = self.likelihood.log_prob(x, params) + self.prior.log_prob(z)
            return tf.reshape(log_joint - normal_log_prob(z, z_mean, z_log_var), (-1, n_samples))

        self._encode_batch = _compiled(self._encode)
        self._elbo_batch = _compiled(self._elbo_terms)
        self._log_weights_batch = _compiled(log_weights)
        self._mean_batch = _compiled(lambda z, y: _as_bytes(self.likelihood.mean(self._decode(z, y))))
        self._draw_batch = _compiled(
            lambda z, y: _as_bytes(self.likelihood.draw(self._decode(z, y), self.pixel_noise))
        )

    def _images(self, x) -> np.ndarray:
        """Return images as an array, or say why they are not this model's."""
        x = np.asarray(x)
        if x.shape[1:] != self.image_shape:
            raise InputError(f"images must be of shape {('n', *self.image_shape)}; received {x.shape}")
        if x.dtype.kind == "f" and x.size and not (x.min() >= 0 and x.max() <= 1):
            raise InputError(
                f"images of floats must lie in [0, 1]; received {x.min():g} to {x.max():g}: give uint8, or "
                "divide by 255"
            )
        return x

    def _labels(self, y, n: int) -> np.ndarray | None:
        """Return n labels, one given to all, or None without classes; say why they are not this model's."""
        if not self.num_classes:
            if y is not None:
                raise InputError("labels are for conditional models; this one has num_classes=0: leave y out")
            return None
        if y is None:
            raise InputError(f"a conditional model needs y: a label from 0 to {self.num_classes - 1}, or {n}")
        labels = np.asarray(y)
        labels = np.full(n, labels) if labels.ndim == 0 else labels
        known = labels.dtype.kind in "uif" and labels.shape == (n,) and np.array_equal(labels, labels // 1)
        if not known or (n and not 0 <= labels.min() <= labels.max() < self.num_classes):
            raise InputError(
                f"y must be {n} integers from 0 to {self.num_classes - 1}, or one for all; received {y!r:.60}"
            )
        return labels

    def elbo_terms(self, x, y=None, seed: int = 0, batch_size: int = 500) -> dict[str, np.ndarray]:
        """Return `elbo`, `distortion` and `rate` of each image in nats, at one z drawn from q(z|x)."""
        self.reseed(seed, 0)
        return _in_batches(self._elbo_batch, self._images(x), self._labels(y, len(x)), batch_size)

    def log_weights(self, x, y=None, n_samples: int = 1, seed: int = 0, batch_size: int = 500) -> np.ndarray:
        """Return log p(x, z) - log q(z|x) in nats for draws of z from q(z|x), shape (n, n_samples)."""
        self.reseed(seed, 0)
        n_images = max(1, batch_size // n_samples)
        draws, x, y = tf.constant(n_samples), self._images(x), self._labels(y, len(x))
        return _in_batches(lambda x, y: self._log_weights_batch(x, y, draws), x, y, n_images)

    def encode(self, x, y=None, batch_size: int = 500) -> tuple[np.ndarray, np.ndarray]:
        """Return z_mean and z_log_var, each of shape (n, latent_dim)."""
        return tuple(_in_batches(self._encode_batch, self._images(x), self._labels(y, len(x)), batch_size))

    def decode(self, z, y=None, draw: bool = False, seed: int = 0, batch_size: int = 500) -> np.ndarray:
        """Return images uint8 (n, h, w, c): the means of p(x|z), or pixels drawn from it."""
        z = np.asarray(z, dtype="float32")
        if z.shape[1:] != (self.latent_dim,):
            raise InputError(f"z must be of shape ('n', {self.latent_dim}); received {z.shape}")
        self.reseed(seed, 0)
        function = self._draw_batch if draw else self._mean_batch
        return _in_batches(function, z, self._labels(y, len(z)), batch_size)

    def reconstruct(self, x, y=None) -> np.ndarray:
        """Return uint8 images: the means of p(x|z) at z = z_mean(x)."""
        return self.decode(self.encode(x, y)[0], y)

    def sample(
        self, n: int, y=None, seed: int = 0, temperature: float = 1.0, draw: bool = False
    ) -> np.ndarray:
        """Return n uint8 images decoded from the prior, its noise scaled by the temperature.

        A conditional model takes the labels y, shape (n,), or one for all.
        """
        u = temperature * np.random.default_rng(seed).standard_normal((n, self.latent_dim))
        z = self.prior.from_normal(ops.convert_to_tensor(u.astype("float32")))
        return self.decode(np.asarray(z), y, draw=draw, seed=seed)

    def interpolate(self, x_from, x_to, steps: int = 8, spherical: bool = False, y=None) -> np.ndarray:
        """Return uint8 images (n, steps, h, w, c) decoded between two z_mean; y is the label of both ends."""
        z = interpolate(self.encode(x_from, y)[0], self.encode(x_to, y)[0], steps, spherical)
        y = self._labels(y, len(x_from))
        labels = None if y is None else np.repeat(y, steps)
        return self.decode(z.reshape(-1, self.latent_dim), labels).reshape(*z.shape[:2], *self.image_shape)

    def get_config(self):
        """Return the constructor's arguments, all JSON-able."""
        return {**super().get_config(), **self.arguments}


def as_unit_floats(x):
    """Return x as float32 in [0, 1]: integers are read as 0..255, floats as they are."""
    x = ops.convert_to_tensor(x)
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
        return ops.cast(x, "float32")
    return ops.cast(x, "float32") / 255.0


def _compiled(function):
    """Return the function as a TensorFlow graph; XLA stays off, as it halves the speed on a CPU."""
    return tf.function(function, reduce_retracing=True, jit_compile=False)


def _as_bytes(x):
    """Return pixels in [0, 1] as uint8."""
    return ops.cast(ops.round(255.0 * x), "uint8")


def _in_batches(function, x: np.ndarray, y: np.ndarray | None, batch_size: int):
    """Apply a compiled function to arrays batch by batch; return NumPy arrays of all rows."""
    parts = []
    for i in range(0, len(x), batch_size):
        labels = None if y is None else tf.convert_to_tensor(y[i : i + batch_size])
        parts.append(function(tf.convert_to_tensor(x[i : i + batch_size]), labels))
    return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *parts)
