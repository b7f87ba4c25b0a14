"""What the decoder's output means: p(x|z) as log-probability, mean and draw. Keras ops only.

`x` is float32 in [0, 1], shape (batch, height, width, channels). `params` is the decoder's raw output,
shape (batch, height, width, n_params(channels)). Log-probabilities are in nats, summed over
pixels and channels: shape (batch,).
"""

import math

import keras
from keras import ops

from vae_lib.config import MAX_CHANNELS, TrainConfig
from vae_lib.metrics.elbo import bits_per_dim
from vae_lib.utils.errors import InputError


class Bernoulli:
    """One logit per pixel and channel.

    A likelihood on binary pixels only. On grey pixels it is the cross-entropy that tutorials use: a
    useful loss, but no probability of an image, so `has_bits_per_dim` is false.
    """

    name = "bernoulli"
    has_bits_per_dim = False

    def n_params(self, channels: int) -> int:
        """Return how many numbers describe a pixel: a logit for each channel."""
        return channels

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

    The channels of a colour pixel are modelled in turn: how far one lies from its location shifts the
    locations of those after it, each by a coefficient of its own. Red, green given red, blue given both: the
    product of the three is still a probability of the whole pixel.

    Source: Salimans et al. 2017, arXiv:1701.05517, sections 2.1 and 2.2, with one mixture component.

    Args:
        in_turn: Whether a channel depends on those before it; grey images have but one.
    """

    name = "discretized_logistic"
    has_bits_per_dim = True

    bin_width = 1.0 / 255.0
    min_log_scale = -7.5  # a seventh of a bin: soft bounds, so that no pixel's density can run away
    max_log_scale = 3.0  # twenty times the range of pixels: as good as flat
    initial_log_scale = -2.0

    def __init__(self, in_turn: bool = True):
        self.in_turn = in_turn

    def n_params(self, channels: int) -> int:
        """Return how many numbers describe a pixel: locations, log-scales, a coefficient for each pair."""
        return 2 * channels + (channels * (channels - 1) // 2 if self.in_turn else 0)

    def _split(self, params):
        """Return location and log-scale of each channel, and the coefficients, [] where there are none."""
        channels = next(c for c in range(1, MAX_CHANNELS + 1) if self.n_params(c) == params.shape[-1])
        location, raw, coefficients = ops.split(params, [channels, 2 * channels], axis=-1)
        raw = raw + self.initial_log_scale
        above_floor = ops.softplus(raw - self.min_log_scale) - ops.softplus(raw - self.max_log_scale)
        n = coefficients.shape[-1]
        return location + 0.5, self.min_log_scale + above_floor, ops.split(coefficients, n, -1) if n else []

    def _shifted(self, location, coefficients, pixels):
        """Return the location of each channel, given the pixels of the channels before it.

        Args:
            location: Of each channel while those before it lie at theirs, (batch, h, w, channels).
            coefficients: Of red on green; of red, green on blue; ..., each (batch, h, w, 1).
            pixels: Function from a channel's index and its location to its pixels, each (batch, h, w, 1).
        """
        if not coefficients:
            return location
        coefficients, shifted, distances = iter(coefficients), [], []
        for i, own in enumerate(ops.split(location, location.shape[-1], axis=-1)):
            shifted.append(own + sum(next(coefficients) * distance for distance in distances))
            distances.append(pixels(i, shifted[-1]) - shifted[-1])
        return ops.concatenate(shifted, axis=-1)

    def bits_per_dim(self, nats: float, image_shape: tuple[int, ...]) -> float:
        """Convert -log p(x) in nats per image to bits per pixel and channel."""
        return bits_per_dim(nats, math.prod(image_shape))

    def log_prob(self, x, params):
        """Return log p(x|z) of 8-bit pixels, in nats, shape (batch,)."""
        location, log_scale, coefficients = self._split(params)
        location = self._shifted(location, coefficients, lambda i, _: x[..., i : i + 1])
        inv_scale = ops.exp(-log_scale)
        upper = (x - location + self.bin_width / 2) * inv_scale
        lower = (x - location - self.bin_width / 2) * inv_scale
        below_top = ops.cast(x < 1.0 - self.bin_width / 2, "float32")
        above_bottom = ops.cast(x > self.bin_width / 2, "float32")
        log_width = ops.log(-ops.expm1(-self.bin_width * inv_scale))
        log_prob = below_top * (above_bottom * log_width - ops.softplus(-upper))
        return ops.sum(log_prob - above_bottom * ops.softplus(lower), axis=(1, 2, 3))

    def mean(self, params):
        """Return the mean pixel, in [0, 1]; of each channel in turn, given the means of those before it.

        The integral of P(X > u) over u in [0, 1]; it differs from the exact sum over the 255 steps by
        less than half a grey level.
        """
        location, log_scale, coefficients = self._split(params)
        scale = ops.exp(log_scale)

        def mean(location, scale):
            return scale * (ops.softplus(location / scale) - ops.softplus((location - 1.0) / scale))

        def mean_of_channel(i, shifted):
            return mean(shifted, scale[..., i : i + 1])

        return mean(self._shifted(location, coefficients, mean_of_channel), scale)

    def draw(self, params, seed):
        """Return pixels drawn from p(x|z): multiples of 1/255 in [0, 1]."""
        location, log_scale, coefficients = self._split(params)
        tiny = 1e-6
        u = keras.random.uniform(ops.shape(location), tiny, 1.0 - tiny, dtype="float32", seed=seed)
        noise = ops.exp(log_scale) * (ops.log(u) - ops.log1p(-u))

        def rounded(x):
            return ops.round(ops.clip(x, 0.0, 1.0) * 255.0) / 255.0

        def draw_of_channel(i, shifted):
            return rounded(shifted + noise[..., i : i + 1])

        return rounded(self._shifted(location, coefficients, draw_of_channel) + noise)

    def in_order(self, params, pixels) -> None:
        """Visit the channels one by one, each given the pixels of those before it.

        Args:
            params: Of p(x|z).
            pixels: Function from a channel's index, location and log-scale, each (batch, h, w, 1), to its
                pixels in [0, 1].
        """
        location, log_scale, coefficients = self._split(params)

        def visit(i, shifted):
            return pixels(i, shifted, log_scale[..., i : i + 1])

        if coefficients:
            self._shifted(location, coefficients, visit)
            return
        for i in range(location.shape[-1]):
            visit(i, location[..., i : i + 1])


LIKELIHOODS = {kind.name: kind for kind in (Bernoulli, DiscretizedLogistic)}


def get_likelihood(name: str, channels: str = "in_turn") -> Bernoulli | DiscretizedLogistic:
    """Return the likelihood called `name`, or raise InputError if there is none.

    Args:
        name: `bernoulli` or `discretized_logistic`.
        channels: How the channels of an 8-bit pixel depend on each other: `in_turn` or `independent`.
    """
    kind = LIKELIHOODS[TrainConfig.check("likelihood", name)]
    in_turn = TrainConfig.check("channels", channels) == "in_turn"
    return kind(in_turn) if kind is DiscretizedLogistic else kind()
