"""Bits-back coding: images as bits, at the cost of the model's bound.

To push an image, its latents are popped by q(z|x), as if the bits on the stack were noise to draw z with;
then its pixels are pushed by p(x|z), and the latents by p(z). The net cost is the negative ELBO. To pop an
image the same is undone in reverse, which gives the bits of the noise back.

- Latents lie on a grid, in deviations of their prior from its mean. How fine it is hardly changes the cost,
  once its step is below the deviations of the posteriors.
- Images are taken in blocks, for speed: all latents of a block are popped before a pixel is pushed.
- The first latents are popped from bits that say nothing, and that count in full. To need few of them, the
  first images have a coarse grid and blocks of one; grid and blocks grow with what lies on the stack.
- Pushing and popping run the same TensorFlow operations one by one, not as a graph that may be rearranged, on
  arrays of equal shapes: on one kind of processor the results are equal bit for bit, as they must be.

Source: Townsend et al. 2019, arXiv:1901.04866; for latents on several scales Kingma et al. 2019,
arXiv:1905.06845.
"""

import hashlib
import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from vae_lib.apps.archive import FINEST
from vae_lib.apps.bit_stack import FAR, BitStack
from vae_lib.models.likelihoods import DiscretizedLogistic
from vae_lib.models.priors import NormalPrior
from vae_lib.models.vae import VAE
from vae_lib.utils.errors import InputError

FIRST_BITS = (0, 1, 3)  # of the first image's; the best is found by trial
N_TRIAL = 8  # images
MAX_BLOCK = 64  # images
SPARE = 3  # words below those in use: two hold the coder's state, and one keeps it from the bottom

Normal = tuple[np.ndarray, np.ndarray]  # mean and log-variance


class BitsBack:
    """The coder that a model is.

    Args:
        vae: A VAE or HierarchicalVAE.

    Raises:
        InputError: If the model defines no code for 8-bit images, or one that is not implemented.
    """

    def __init__(self, vae: VAE):
        if not isinstance(vae.likelihood, DiscretizedLogistic) or vae.binarize:
            raise InputError(
                "a model of binary pixels has no code for images of 256 grey levels: train with --likelihood "
                "discretized_logistic"
            )
        if vae.num_classes or not isinstance(vae.prior, NormalPrior):
            kind = (
                "conditional models" if vae.num_classes else f"models with the prior {vae.arguments['prior']}"
            )
            raise InputError(f"{kind} cannot code images: train without labels, and with --prior normal")
        self.vae = vae
        self.n_latents = vae.latent_dim + sum(math.prod(s.size) * s.latents * s.blocks for s in vae.scales)
        self.max_block = min(MAX_BLOCK, vae.images_at_once)

    def push(self, x: np.ndarray) -> tuple[np.ndarray, int]:
        """Return images, uint8 (n, h, w, c), as words, uint32, and the bits of the first image's grid."""
        trials = {bits: self._push(x[:N_TRIAL], bits) for bits in FIRST_BITS}
        first = min(trials, key=lambda bits: len(trials[bits]))
        return (self._push(x, first) if len(x) > N_TRIAL else trials[first]), first

    def _push(self, x: np.ndarray, first_bits: int) -> np.ndarray:
        noise = self._noise()
        stack, depth = BitStack(noise), len(noise)
        for rows, bits in self._progress("compress", [*self._blocks(len(x), first_bits)]):
            depth = min(depth, self._push_block(stack, x[rows], bits))
        return stack.words[depth - SPARE :]  # what lies deeper was never used

    def pop(self, words: np.ndarray, n: int, first_bits: int) -> np.ndarray:
        """Return the images, uint8 (n, h, w, c), that `push` made the words of.

        Raises:
            InputError: If there are too few words for so many images.
        """
        stack, x = BitStack(words), np.empty((n, *self.vae.image_shape), "uint8")
        for rows, bits in self._progress("decompress", [*self._blocks(n, first_bits)][::-1]):
            x[rows] = self._pop_block(stack, rows.stop - rows.start, bits)
        return x

    def _progress(self, text: str, blocks: list[tuple[slice, int]]) -> Iterator[tuple[slice, int]]:
        """Yield the blocks, and show on a terminal how many images are done."""
        n = sum(rows.stop - rows.start for rows, _ in blocks)
        with tqdm(desc=text, total=n, unit="image", disable=None if n > N_TRIAL else True) as bar:
            for rows, bits in blocks:
                yield rows, bits
                bar.update(rows.stop - rows.start)

    def arithmetic(self) -> str:
        """Return a hash of the numbers that two images of noise are coded with, to the last bit."""
        noted, noise = hashlib.sha256(), self._noise()
        stack = BitStack(noise, noted)
        self._push_block(stack, np.resize(noise.view("uint8"), (2, *self.vae.image_shape)), FINEST)
        noted.update(stack.words.tobytes())
        return noted.hexdigest()[:32]

    def _noise(self) -> np.ndarray:
        """Return noise, uint32, enough for a block's latents at the 24 bits that one costs at most."""
        n = SPARE + (self.max_block + 1) * self.n_latents
        return np.append(np.random.PCG64(0).random_raw(n).astype("uint32"), np.uint32(1))  # the last is not 0

    def _blocks(self, n: int, first_bits: int) -> Iterator[tuple[slice, int]]:
        """Yield the images of each block, and the bits of its grid."""
        done, pixels_per_latent = 0, math.prod(self.vae.image_shape) / self.n_latents
        while done < n:
            size = min(n - done, self.max_block, 1 + int(done * pixels_per_latent / 16))
            yield slice(done, done + size), min(FINEST, first_bits + int(done * pixels_per_latent / 2))
            done += size

    def _push_block(self, stack: BitStack, x: np.ndarray, bits: int) -> int:
        """Push images; return how few words there were meanwhile."""
        cells = []

        def draw(prior: Normal, posterior: Normal) -> tf.Tensor:
            cells.append(stack.pop_latents(*_relative(posterior, prior), bits))
            return _latents(cells[-1], prior, bits)

        posterior, features = self._encode(x)
        z = draw(STANDARD, posterior)

        def below(i, block, state):
            return draw(*block.infer(state, features[i], True)[1:])

        params = self.vae.descend(z, None, below)
        depth = len(stack)
        self._push_pixels(stack, params, x)
        for popped in reversed(cells):
            stack.push_latents(popped, *_standard(popped.shape), bits, FAR)
        return depth

    def _pop_block(self, stack: BitStack, n: int, bits: int) -> np.ndarray:
        """Pop n images, and push the latents back by q(z|x)."""
        cells, inner = [], []

        def draw(prior: Normal, shape: tuple[int, ...]) -> tf.Tensor:
            cells.append(stack.pop_latents(*_standard(shape), bits, FAR))
            return _latents(cells[-1], prior, bits)

        def choose(i, block, state):
            inner.append((i, block, state))
            prior = block.prior(state)
            return draw(prior, prior[0].shape)

        params = self.vae.descend(draw(STANDARD, (n, self.vae.latent_dim)), None, choose)
        x = self._pop_pixels(stack, params)
        if len(stack) < SPARE:
            raise InputError("there are too few bits for so many images")
        posterior, features = self._encode(x)
        pairs = [(posterior, STANDARD)]
        pairs += [block.infer(state, features[i], True)[:0:-1] for i, block, state in inner]
        for popped, (posterior, prior) in zip(reversed(cells), reversed(pairs), strict=True):
            stack.push_latents(popped, *_relative(posterior, prior), bits)
        return x

    def _encode(self, x: np.ndarray) -> tuple[Normal, list[tf.Tensor]]:
        """Return q(z_1|x), and the features that the other latents are inferred from."""
        mean, log_var, *features = self.vae.features(x)
        return (mean, log_var), features

    def _push_pixels(self, stack: BitStack, params: tf.Tensor, x: np.ndarray) -> None:
        channels = []

        def pixels(i, *distributions):
            channels.append((x[..., i : i + 1], *distributions))
            return _unit_floats(x[..., i : i + 1])

        self.vae.likelihood.in_order(params, pixels)
        for levels, location, log_scale in reversed(channels):
            stack.push_pixels(levels, location.numpy(), log_scale.numpy())

    def _pop_pixels(self, stack: BitStack, params: tf.Tensor) -> np.ndarray:
        channels = []

        def pixels(i, location, log_scale):
            channels.append(stack.pop_pixels(location.numpy(), log_scale.numpy()).astype("uint8"))
            return _unit_floats(channels[-1])

        self.vae.likelihood.in_order(params, pixels)
        return np.concatenate(channels, axis=-1)


STANDARD = np.float32(0.0), np.float32(0.0)  # mean and log-variance of N(0, 1)


def _standard(shape: tuple[int, ...]) -> Normal:
    """Return mean and deviation of the prior in its own units, float64."""
    return np.zeros(shape), np.ones(shape)


def _relative(posterior: Normal, prior: Normal) -> Normal:
    """Return mean and deviation of a posterior in units of its prior, float64."""
    mean, log_var, prior_mean, prior_log_var = (np.float64(a) for a in (*posterior, *prior))
    return (mean - prior_mean) * np.exp(-0.5 * prior_log_var), np.exp(0.5 * (log_var - prior_log_var))


def _latents(cells: np.ndarray, prior: Normal, bits: int) -> tf.Tensor:
    """Return the latents that cells of the grid stand for."""
    mean, log_var = (np.float64(a) for a in prior)
    return tf.constant(mean + np.exp(0.5 * log_var) * (cells + 0.5) * 2.0**-bits, "float32")


def _unit_floats(levels: np.ndarray) -> np.ndarray:
    return levels.astype("float32") / np.float32(255.0)
