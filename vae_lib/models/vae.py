"""The VAE: encoder, decoder, prior, and the ELBO between them.

Images go in and come out as arrays (n, height, width, channels): uint8 in 0..255, or float in [0, 1].
Losses are in nats: summed over pixels, channels and latents, averaged over the batch.
"""

import functools
import math
import types
import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from vae_lib.config import TrainConfig
from vae_lib.latent_space import interpolate
from vae_lib.models.likelihoods import get_likelihood
from vae_lib.models.networks import Sampling, dtype_policy, initialize, make_decoder, make_encoder
from vae_lib.models.priors import make_prior, normal_log_prob
from vae_lib.models.saved_model import image_signatures, write_saved_model
from vae_lib.models.total_correlation import total_correlation
from vae_lib.utils.errors import InputError

_NO_WEIGHTS = "every image counts alike: leave sample_weight and class_weight out"
NOISE_SEED = 20_131_220  # scores of all models see the same noise
PIXELS_AT_ONCE = 2_000_000  # of a batch outside of training, which bounds its memory


@keras.saving.register_keras_serializable(package="vae_lib")
class VAE(keras.Model):
    """A VAE for images of any height and width from 8 to 256 and 1 to 4 channels.

    The loss is distortion + beta * rate: -log p(x|z) at one z drawn from q(z|x), and KL(q(z|x) || p(z)).
    At beta = 1 it is the negative ELBO; other values come from Higgins et al. 2017. `tc_weight` adds the
    total correlation of the latents (Chen et al. 2018). In a conditional model p(z) is p(z|y), but for the
    prior `normal`. What the layers of a subclass add, by `add_loss` or a regularizer, is minimised with it:
    as in Keras, `loss` in the logs is the sum, while `distortion` and `rate` are without it.

    Encoder and decoder follow Keras' dtype policy, global or `dtype=`; the terms of the loss are float32.

    Args:
        image_shape: (height, width, channels).
        num_classes: Condition encoder and decoder on a label, one of so many; 0 for none.
        latent_dim, beta, likelihood, ...: The options that `TrainConfig` describes under the same names.

    Raises:
        InputError: If an argument has a value that is not allowed.
    """

    scales = ()  # below z, where a subclass has latents

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int = 16,
        beta: float = 1.0,
        likelihood: str = "discretized_logistic",
        prior: str | None = None,
        network: str = "conv",
        width: int = 16,
        dense_units: int = 256,
        num_classes: int = 0,
        binarize: bool = False,
        channels: str = "in_turn",
        tc_weight: float = 0.0,
        scale_latents: tuple[int, ...] | None = None,
        scale_blocks: tuple[int, ...] | None = None,
        seed: int = 0,
        **kwargs,
    ):
        arguments = {k: v for k, v in locals().items() if k not in ("self", "kwargs", "__class__")}
        options = TrainConfig.__dataclass_fields__.keys() & arguments.keys()
        # refuses values that are not allowed
        config = TrainConfig(**{k: arguments[k] for k in options}, conditional=num_classes > 0)
        super().__init__(**{"autocast": False, **kwargs})  # pixels are not rounded to the policy's dtype
        self.arguments = {**arguments, "prior": config.prior}
        self.image_shape = tuple(image_shape)
        self.images_at_once = max(1, min(500, PIXELS_AT_ONCE // math.prod(image_shape)))
        self.latent_dim, self.num_classes, self.binarize = latent_dim, num_classes, binarize
        self.likelihood = get_likelihood(likelihood, channels)
        self.prior = make_prior(config.prior, latent_dim, num_classes)
        self.tc_weight = tc_weight
        self.sampling = Sampling(seed)
        self.pixel_noise = keras.random.SeedGenerator(seed)
        with dtype_policy(self.dtype_policy):
            networks = [*self.make_networks(config), *getattr(self.prior, "networks", ())]
        for i, part in enumerate(networks):
            initialize(part, 1000 * seed + i)
        start = keras.initializers.Constant(beta)
        self.beta = self.add_weight((), start, dtype="float32", trainable=False, name="beta")
        self.trackers = [keras.metrics.Mean(name=name) for name in self._names_of_means()]
        self._compile_batch_functions()
        self.built = True

    def make_networks(self, config: TrainConfig) -> list[keras.Model]:
        """Make the encoder and the decoder; return them, for their first weights to be drawn."""
        shape, classes = self.image_shape, self.num_classes
        network, width, dense_units = config.network, config.width, config.dense_units
        if network == "hierarchical":
            raise InputError("a hierarchical network has a class of its own: use HierarchicalVAE")
        self.encoder = self.new_encoder(network, width, dense_units)
        n_params = self.likelihood.n_params(shape[-1])
        self.decoder = make_decoder(shape, self.latent_dim, network, width, dense_units, n_params, classes)
        return [self.encoder, self.decoder]

    def new_encoder(self, network: str, width: int, dense_units: int) -> keras.Model:
        """Return the encoder, images in [-1, 1] -> z_mean and z_log_var; a subclass may make another."""
        return make_encoder(self.image_shape, self.latent_dim, network, width, dense_units, self.num_classes)

    def features(self, x, y=None):
        """Return tensors: z_mean and z_log_var, and a map of features for each of `scales`."""
        return self._encode(x, y)

    def descend(self, z, y=None, choose: Callable | None = None):
        """Return a tensor, the parameters of p(x|z); `choose` gives the latents of `scales`."""
        return self._decode(z, y)

    @property
    def rate_names(self) -> list[str]:
        """The keys of the rates of single scales; a flat model has one scale, and none of them."""
        return []

    def _names_of_means(self) -> tuple[str, ...]:
        """Return what an epoch reports, in this order."""
        return "loss", "distortion", "rate", *(["total_correlation"] if self.tc_weight else [])

    @property
    def metrics(self):
        """The trackers, and no other: Keras would add a second one named `loss`."""
        return self.trackers

    def reseed(self, seed: int, step: int) -> None:
        """Make the noise of z and of pixels that follows a pure function of (seed, step)."""
        self.sampling.reseed(seed, step)
        # Not the key of z's noise, or the two kinds of noise would be the same numbers.
        self.pixel_noise.state.assign(np.array([seed + 2**31, step], dtype="uint32"))

    def call(self, x, y=None, training=False):
        """Return params of p(x|z), z, z_mean and z_log_var for one z drawn from q(z|x)."""
        z_mean, z_log_var = self._encode(x, y, training)
        z = self.sampling(z_mean, z_log_var)
        return self._decode(z, y, training), z, z_mean, z_log_var

    def _encode(self, x, y=None, training=False):
        inputs = self._with_label(2.0 * as_unit_floats(x) - 1.0, y)
        return as_float32(self.encoder(inputs, training=training))

    def _decode(self, z, y=None, training=False):
        return as_float32(self.decoder(self._with_label(z, y), training=training))

    def _with_label(self, first, y):
        return [first, ops.one_hot(ops.cast(y, "int32"), self.num_classes)] if self.num_classes else first

    def _elbo_terms(self, x, y=None, training=False):
        """Return `elbo`, `distortion` and `rate` in nats, each of shape (batch,)."""
        x = self._pixels(x)
        params, z, z_mean, z_log_var = self(x, y, training=training)
        distortion = -self.likelihood.log_prob(x, params)
        rate = self.prior.rate(z, z_mean, z_log_var, y)
        terms = {"elbo": -distortion - rate, "distortion": distortion, "rate": rate}
        if self.tc_weight:
            terms["total_correlation"] = total_correlation(z, z_mean, z_log_var)
        return terms

    def _pixels(self, x):
        """Return x as float32 in [0, 1]; a binarising model draws 0 or 1 for each pixel."""
        x = as_unit_floats(x)
        if not self.binarize:
            return x
        u = keras.random.uniform(ops.shape(x), dtype="float32", seed=self.pixel_noise)
        return ops.cast(u < x, "float32")

    def fit(self, x=None, y=None, *args, **kwargs):
        """As `keras.Model.fit`, for images as `encode` takes them; weights of images are refused.

        Labels that come with the images of a model without classes are not used.
        """
        x, y = self._checked(x, y, **kwargs)
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """As `keras.Model.evaluate`, for images as `encode` takes them; weights of images are refused."""
        x, y = self._checked(x, y, **kwargs)
        return super().evaluate(x, y, *args, **kwargs)

    def save(self, filepath, *args, **kwargs):
        """As `keras.Model.save`, to a `.keras` file; HDF5, which Keras could not load again, is refused."""
        if str(filepath).endswith((".h5", ".hdf5")):
            raise InputError(f"{filepath}: a VAE cannot be loaded from HDF5: save it to a file .keras")
        super().save(filepath, *args, **kwargs)

    def export(self, filepath, format="tf_saved_model", verbose=None, input_signature=None, **kwargs):
        """As `keras.Model.export`, of `call`: a SavedModel x, y -> params, z, z_mean and z_log_var.

        Its endpoint `serve` takes images as `encode` does, uint8 or float32, unless a signature is given.
        Encoder and decoder alone, and in other formats, are written by `vae_lib.apps.export_model`.
        """
        if format != "tf_saved_model":
            raise InputError(
                f"the whole model draws noise, so its format is tf_saved_model; received {format!r}: "
                "vae_lib.apps.export_model writes encoder and decoder as ONNX and LiteRT"
            )
        if input_signature is not None:
            super().export(filepath, format, verbose, input_signature, **kwargs)
        else:
            function = functools.partial(self, training=False)
            write_saved_model(filepath, self, function, image_signatures(self), verbose is not False)

    def predict(self, x, *args, **kwargs):
        """As `keras.Model.predict`, for images as `encode` takes them, without labels."""
        if self.num_classes:
            raise InputError(
                "predict takes no labels, and a conditional model needs them: use reconstruct(x, y)"
            )
        x, _ = self._checked(x, None)
        return super().predict(x, *args, **kwargs)

    def _checked(self, x, y, validation_data=None, sample_weight=None, class_weight=None, **_):
        """Return images and labels for Keras; raise InputError for what the model would misread or ignore."""
        if sample_weight is not None or class_weight is not None:
            raise InputError(_NO_WEIGHTS)
        for batch in ((x, y), keras.utils.unpack_x_y_sample_weight(validation_data)):
            self._check_batch(*batch)
        if isinstance(x, types.GeneratorType):
            x = self._checked_batches(x)
        return x, self._labels(y, len(x)) if self.num_classes and hasattr(x, "shape") else y

    def _checked_batches(self, batches):
        for batch in batches:
            self._check_batch(*keras.utils.unpack_x_y_sample_weight(batch))
            yield batch

    def _check_batch(self, x, y=None, weights=None) -> None:
        """Check arrays, or the first batch of a Dataset or PyDataset."""
        if weights is not None:
            raise InputError(_NO_WEIGHTS)
        if isinstance(x, tf.data.Dataset | keras.utils.PyDataset):
            first = next(iter(x.take(1)), None) if isinstance(x, tf.data.Dataset) else x[0]
            self._check_batch(*keras.utils.unpack_x_y_sample_weight(first))
        elif hasattr(x, "shape"):
            self.check_images(x)
            if self.num_classes:
                self._labels(y, len(x))

    def train_step(self, data):
        """Take one gradient step on distortion + beta * rate; return the running means in nats."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            terms = self._elbo_terms(x, y, training=True)
            scaled_loss = self.optimizer.scale_loss(ops.mean(self._penalised_losses(terms)))
        gradients = tape.gradient(scaled_loss, self.trainable_variables)
        self.apply_gradients(gradients)
        return self._track(terms)

    def apply_gradients(self, gradients) -> None:
        """Let the optimizer change the weights; a subclass may leave a step out."""
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))

    def test_step(self, data):
        """Return the running means on held-out images, in nats."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._track(self._elbo_terms(x, y, training=False))

    def _losses_of(self, terms):
        """Return the loss of each image, shape (batch,)."""
        loss = terms["distortion"] + self.beta * terms["rate"]
        return loss + self.tc_weight * terms["total_correlation"] if self.tc_weight else loss

    def _penalised_losses(self, terms):
        """Return the loss of each image plus what the layers add to it, shape (batch,)."""
        return sum((ops.sum(ops.cast(loss, "float32")) for loss in self.losses), self._losses_of(terms))

    def _track(self, terms):
        values = {**terms, "loss": self._penalised_losses(terms)}
        for tracker in self.trackers:  # of each image, so that a smaller last batch counts by its size
            tracker.update_state(values[tracker.name])
        return {tracker.name: tracker.result() for tracker in self.trackers}

    def _log_weights(self, x, y, n_samples):
        """Return log p(x, z) - log q(z|x) for draws of z from q(z|x), shape (batch, n_samples)."""
        x = self._pixels(x)
        x, z_mean, z_log_var = (tf.repeat(a, n_samples, axis=0) for a in (x, *self._encode(x, y)))
        y = None if y is None else tf.repeat(y, n_samples)
        z = self.sampling(z_mean, z_log_var)
        log_joint = self.likelihood.log_prob(x, self._decode(z, y)) + self.prior.log_prob(z, y)
        return tf.reshape(log_joint - normal_log_prob(z, z_mean, z_log_var), (-1, n_samples))

    def _decode_mean(self, z, y=None):
        """Return the means of p(x|z) as uint8; of a hierarchical model, finer latents are at their means."""
        return as_bytes(self.likelihood.mean(self._decode(z, y)))

    def _compile_batch_functions(self) -> None:
        self._encode_batch = compiled(self._encode)
        self._elbo_batch = compiled(self._elbo_terms)
        self._log_weights_batch = compiled(self._log_weights)
        self._mean_batch = compiled(self._decode_mean)
        self._draw_batch = compiled(
            lambda z, y: as_bytes(self.likelihood.draw(self._decode(z, y), self.pixel_noise))
        )

    def check_images(self, x) -> np.ndarray:
        """Return images as an array, or raise InputError if this model does not take them."""
        x = np.asarray(x)
        if x.shape[1:] != self.image_shape:
            raise InputError(f"images must be of shape {('n', *self.image_shape)}; received {x.shape}")
        if not len(x):
            raise InputError(f"no images: received an array of shape {x.shape}; give at least one")
        if x.dtype.kind not in "fiu":
            raise InputError(f"images must be uint8, or floats in [0, 1]; received {x.dtype}")
        top = 1 if x.dtype.kind == "f" else 255
        if x.dtype != np.uint8 and not (x.min() >= 0 and x.max() <= top):
            kind, remedy = ("floats", ": give uint8, or divide by 255") if top == 1 else ("integers", "")
            received = f"{x.min():g} to {x.max():g}"
            raise InputError(f"{kind} must lie in [0, {top}]; received {received}{remedy}")
        if top == 255 and x.max() == 1:
            message = "integers are grey levels of 255, and none here is above 1: give masks as 255 * x"
            warnings.warn(message, stacklevel=3)
        return x

    def _codes(self, z) -> np.ndarray:
        """Return codes as float32, or raise InputError if they are not of this model's latent size."""
        z = np.asarray(z, dtype="float32")
        if z.shape[1:] != (self.latent_dim,):
            raise InputError(f"z must be of shape ('n', {self.latent_dim}); received {z.shape}")
        return z

    def _labels(self, y, n: int) -> np.ndarray | None:
        """Return n labels, or None for a model without classes; raise InputError if y is neither."""
        if not self.num_classes:
            if y is not None:
                raise InputError("labels are for conditional models; this one has num_classes=0: leave y out")
            return None
        return class_labels(y, n, self.num_classes)

    def as_observed(self, x: np.ndarray) -> np.ndarray:
        """Return uint8 images as the model sees them: binarised, always in the same way, if it binarises."""
        return binarize_images(x) if self.binarize else x

    def elbo_terms(self, x, y=None, seed: int = 0) -> dict[str, np.ndarray]:
        """Return `elbo`, `distortion` and `rate` of each image in nats, at one z drawn from q(z|x)."""
        self.reseed(seed, 0)
        x, y = self.check_images(x), self._labels(y, len(x))
        return in_batches(self._elbo_batch, x, y, self.images_at_once)

    def log_weights(self, x, y=None, n_samples: int = 1, seed: int = 0) -> np.ndarray:
        """Return log p(x, z) - log q(z|x) in nats for draws of z from q(z|x), shape (n, n_samples)."""
        self.reseed(seed, 0)
        n_images = max(1, self.images_at_once // n_samples)
        draws, x, y = tf.constant(n_samples), self.check_images(x), self._labels(y, len(x))
        return in_batches(lambda x, y: self._log_weights_batch(x, y, draws), x, y, n_images)

    def encode(self, x, y=None) -> tuple[np.ndarray, np.ndarray]:
        """Return z_mean and z_log_var, each of shape (n, latent_dim)."""
        labels = self._labels(y, len(x))
        return tuple(in_batches(self._encode_batch, self.check_images(x), labels, self.images_at_once))

    def encode_scales(self, x, y=None) -> list[np.ndarray]:
        """Return the latents of images, each the mean of its posterior: here z alone, (n, latent_dim)."""
        return [self.encode(x, y)[0]]

    def decode(self, z, y=None, draw: bool = False, seed: int = 0, temperature: float = 1.0) -> np.ndarray:
        """Return images uint8 (n, h, w, c): the means of p(x|z), or pixels drawn from it.

        The temperature scales the noise of latents below z, where a model has them.
        """
        z = self._codes(z)
        self.reseed(seed, 0)
        function = self._draw_batch if draw else self._mean_batch
        return in_batches(function, z, self._labels(y, len(z)), self.images_at_once)

    def reconstruct(self, x, y=None) -> np.ndarray:
        """Return uint8 images: the means of p(x|z) at z = z_mean(x)."""
        return self.decode(self.encode(x, y)[0], y)

    def sample(
        self, n: int, y=None, seed: int = 0, temperature: float = 1.0, draw: bool = False
    ) -> np.ndarray:
        """Return n uint8 images decoded from the prior, its noise scaled by the temperature.

        A conditional model takes the labels y, shape (n,), or one for all.
        """
        return self.decode(self.sample_prior(n, y, seed, temperature), y, draw, seed, temperature)

    def sample_prior(self, n: int, y=None, seed: int = 0, temperature: float = 1.0) -> np.ndarray:
        """Return n draws of z from the prior, (n, latent_dim), its noise scaled by the temperature."""
        check_count(n)
        u = temperature * np.random.default_rng(seed).standard_normal((n, self.latent_dim))
        return np.asarray(self.prior.from_normal(u.astype("float32"), self._labels(y, n)))

    def interpolate(self, x_from, x_to, steps: int = 8, spherical: bool = False, y=None) -> np.ndarray:
        """Return uint8 images (n, steps, h, w, c) decoded between two z_mean; y is the label of both ends."""
        check_pairs(x_from, x_to)
        z = interpolate(self.encode(x_from, y)[0], self.encode(x_to, y)[0], steps, spherical)
        y = self._labels(y, len(x_from))
        labels = None if y is None else np.repeat(y, steps)
        return self.decode(z.reshape(-1, self.latent_dim), labels).reshape(*z.shape[:2], *self.image_shape)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), **self.arguments}


def class_labels(y, n: int, num_classes: int) -> np.ndarray:
    """Return n labels from 0 to num_classes - 1, from as many or from one for all; or raise InputError."""
    labels = np.full(n, y) if np.ndim(y) == 0 else np.asarray(y)
    known = labels.dtype.kind in "uif" and np.isin(labels, range(num_classes)).all()
    if not known or labels.shape != (n,):
        needed = f"{n} integers from 0 to {num_classes - 1}, or one for all"
        values = f"{np.asarray(y).tolist()!r:.60}"
        received = values if labels.shape == (n,) else f"an array of shape {labels.shape}"
        raise InputError(f"a conditional model needs labels y: {needed}; received {received}")
    return labels.astype("int64")


def check_pairs(x_from, x_to) -> None:
    """Raise InputError if these are not as many images as those."""
    if len(x_from) != len(x_to):
        raise InputError(f"both sides need as many images; received {len(x_from)} and {len(x_to)}")


def check_count(n) -> None:
    """Raise InputError if n is no number of samples."""
    if not isinstance(n, int | np.integer) or n < 0:
        raise InputError(f"the number of samples must be a whole number from 0; received {n!r}")


def as_unit_floats(x):
    """Return x as float32 in [0, 1]: integers are read as 0..255, floats as they are."""
    x = ops.convert_to_tensor(x)
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
        return ops.cast(x, "float32")
    return ops.cast(x, "float32") / 255.0


def as_float32(outputs):
    """Return the tensor, or the tensors, that a network gives as float32."""
    return keras.tree.map_structure(lambda output: ops.cast(output, "float32"), outputs)


def binarize_images(x: np.ndarray, seed: int = NOISE_SEED) -> np.ndarray:
    """Return uint8 images of 0 and 255, each pixel on with its grey level as probability.

    Source: Salakhutdinov and Murray 2008 (binarised MNIST, drawn once for the test images).
    """
    rng, pixels = np.random.default_rng(seed), np.empty(x.shape, "uint8")
    for i in range(len(x)):  # one at a time, for memory
        pixels[i] = np.where(rng.random(x.shape[1:]) < x[i] / 255.0, 255, 0)
    return pixels


def compiled(function):
    """Return the function as a TensorFlow graph; XLA stays off, as it halves the speed on a CPU."""
    return tf.function(function, reduce_retracing=True, jit_compile=False)


def as_bytes(x):
    """Return pixels in [0, 1] as uint8."""
    return ops.cast(ops.round(255.0 * x), "uint8")


def in_batches(function, x, y: np.ndarray | None, batch_size: int):
    """Apply a compiled function to arrays batch by batch; return NumPy arrays of all rows.

    Args:
        function: From x and y, each a tensor of the rows of a batch, to tensors; of no labels, y is None.
        x: An array, or a list of arrays of as many rows.
        y: Labels, or None.
        batch_size: Rows at once.
    """
    parts, n = [], len(tf.nest.flatten(x)[0])
    if not n:  # a row of zeros says the shape of the result: convolutions take no empty batch
        row = tf.nest.map_structure(lambda a: np.zeros((1, *a.shape[1:]), a.dtype), x)
        label = None if y is None else np.zeros(1, y.dtype)
        return tf.nest.map_structure(lambda a: a[:0], in_batches(function, row, label, batch_size))
    for i in range(0, n, batch_size):
        batch = [
            None if a is None else tf.convert_to_tensor(a[i : i + batch_size])
            for a in (*tf.nest.flatten(x), y)
        ]
        parts.append(function(tf.nest.pack_sequence_as(x, batch[:-1]), batch[-1]))
    return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *parts)
