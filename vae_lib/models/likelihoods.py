"""What the decoder's output means: p(x|z) as log-probability, mean and draw. Keras ops only.

`x` is float32 in [0, 1], shape (batch, height, width, channels). `params` is the decoder's raw output,
shape (batch, height, width, params_per_channel * channels). Log-probabilities are in nats, summed over
pixels and channels: shape (batch,).
"""

import math

import keras
from keras import ops

from vae_lib.config import TrainConfig
from vae_lib.metrics.elbo import bits_per_dim
from vae_lib.utils.errors import InputError


class Bernoulli:
    """One logit per pixel and channel.

    A likelihood on binary pixels only. On grey pixels it is the cross-entropy that tutorials use: a
    useful loss, but no probability of an image, so `has_bits_per_dim` is false.
    """

    name = "bernoulli"
    params_per_channel = 1
    has_bits_per_dim = False

    def bits_per_dim(self, nats: float, image_shape: tuple[int, ...]) -> float:
        """Raise InputError: under this likelihood 8-bit pixels have no probability."""
        raise InputError(
            "bits per dim need a likelihood of 8-bit pixels; received 'bernoulli': "
            "train with likelihood='discretized_logistic'"
        )

    def log_prob(self, x, params):
        """Return x log p + (1 - x) log(1 - p), in nats, shape (batch,)."""
        return ops.sum(x * params - ops.softplus(params), axis=(1, 2, 3))

    def mean(self, params):
        """Return the probability that each pixel is on, in [0, 1]."""
        return ops.sigmoid(params)

    def draw(self, params, seed):
        """Return pixels drawn from p(x|z): 0 or 1."""
        u = keras.random.uniform(ops.shape(params), dtype="float32", seed=seed)
        return ops.cast(u < ops.sigmoid(params), "float32")


class DiscretizedLogistic:
    """An 8-bit likelihood: a logistic density, integrated over the bin of each of the 256 values.

    Location and log-scale are learned per pixel and channel; the bins of 0 and 255 reach to infinity,
    so the 256 probabilities sum to 1. With a = (x + bin/2 - location) / scale and b = a - bin / scale,

        log(sigmoid(a) - sigmoid(b)) = log sigmoid(a) + log sigmoid(-b) + log(1 - exp(-bin / scale)),

    whose three terms are each stable in float32, however far x lies from the location.

    Source: Salimans et al. 2017, arXiv:1701.05517, section 2.1, with one mixture component.
    """

    name = "discretized_logistic"
    params_per_channel = 2
    has_bits_per_dim = True

    bin_width = 1.0 / 255.0
    min_log_scale = -7.5  # a seventh of a bin: soft bounds, so that no pixel's density can run away
    max_log_scale = 3.0  # twenty times the range of pixels: as good as flat
    initial_log_scale = -2.0

    def _location_and_log_scale(self, params):
        location, raw = ops.split(params, 2, axis=-1)
        raw = raw + self.initial_log_scale
        above_floor = ops.softplus(raw - self.min_log_scale) - ops.softplus(raw - self.max_log_scale)
        return location + 0.5, self.min_log_scale + above_floor

    def bits_per_dim(self, nats: float, image_shape: tuple[int, ...]) -> float:
        """Convert -log p(x) in nats per image to bits per pixel and channel."""
        return bits_per_dim(nats, math.prod(image_shape))

    def log_prob(self, x, params):
        """Return log p(x|z) of 8-bit pixels, in nats, shape (batch,)."""
        location, log_scale = self._location_and_log_scale(params)
        inv_scale = ops.exp(-log_scale)
        upper = (x - location + self.bin_width / 2) * inv_scale
        lower = (x - location - self.bin_width / 2) * inv_scale
        below_top = ops.cast(x < 1.0 - self.bin_width / 2, "float32")
        above_bottom = ops.cast(x > self.bin_width / 2, "float32")
        log_width = ops.log(-ops.expm1(-self.bin_width * inv_scale))
        log_prob = below_top * (above_bottom * log_width - ops.softplus(-upper))
        return ops.sum(log_prob - above_bottom * ops.softplus(lower), axis=(1, 2, 3))

    def mean(self, params):
        """Return the mean pixel, in [0, 1].

        The integral of P(X > u) over u in [0, 1]; it differs from the exact sum over the 255 steps by
        less than half a grey level.
        """
        location, log_scale = self._location_and_log_scale(params)
        scale = ops.exp(log_scale)
        return scale * (ops.softplus(location / scale) - ops.softplus((location - 1.0) / scale))

    def draw(self, params, seed):
        """Return pixels drawn from p(x|z): multiples of 1/255 in [0, 1]."""
        location, log_scale = self._location_and_log_scale(params)
        tiny = 1e-6
        u = keras.random.uniform(ops.shape(location), tiny, 1.0 - tiny, dtype="float32", seed=seed)
        x = location + ops.exp(log_scale) * (ops.log(u) - ops.log1p(-u))
        return ops.round(ops.clip(x, 0.0, 1.0) * 255.0) / 255.0


LIKELIHOODS = {kind.name: kind for kind in (Bernoulli, DiscretizedLogistic)}


def get_likelihood(name: str) -> Bernoulli | DiscretizedLogistic:
    """Return the likelihood called `name`, or raise InputError if there is none."""
    return LIKELIHOODS[TrainConfig.check("likelihood", name)]()
