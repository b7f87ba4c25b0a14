"""A stack of bits that takes latents and pixels at the cost that their probabilities demand."""

from collections.abc import Iterator

import numpy as np

from vae_lib.utils.errors import InputError

# Bounds of a posterior's mean and deviation, in deviations of the prior: all its cells are among the prior's.
REACH, NARROWEST, WIDEST = 8.0, 1e-5, 2.0
NEAR, FAR = 64, 192  # outcomes on either side of the mean's: of a posterior, of the prior
SYMBOLS_AT_ONCE = 2048  # whose tables of 256 probabilities fit into a processor's cache
BETWEEN_LEVELS = ((np.arange(1, 256) - 0.5) / 255).astype("float32")


class BitStack:
    """Bits; what is pushed last is popped first. To pop from bits that nobody pushed is to draw at random.

    Args:
        words: The bits so far, uint32 (n,); the last must not be 0.
        noted: A hash, to which all parameters of distributions are added.

    Source: Duda 2013, arXiv:1311.2540 (asymmetric numeral systems); Bamler 2022, arXiv:2201.01741.
    """

    def __init__(self, words: np.ndarray, noted=None):
        from constriction import stream

        self._coder, self._models, self._noted = stream.stack.AnsCoder(words), stream.model, noted
        self._uniform, self._table = stream.model.Uniform(), stream.model.Categorical(perfect=False)

    def __len__(self) -> int:
        """Return the number of words."""
        return self._coder.num_words()

    @property
    def words(self) -> np.ndarray:
        """The bits, uint32 (n,)."""
        return self._coder.get_compressed()

    def pop_latents(self, mean: np.ndarray, deviation: np.ndarray, bits: int, steps=NEAR) -> np.ndarray:
        """Return cells of a grid, int32, drawn from normal distributions; k lies around (k + 0.5) 2^-bits.

        A cell is popped in two steps: a power of two of cells, at most a quarter of a deviation wide, and
        then one of these, all alike. The coder gives each outcome of a step at least 2^-24: of thousands of
        outcomes, far ones would be drawn too often, at the cost of the image.

        Args:
            mean: In deviations of the prior, of any shape.
            deviation: In deviations of the prior, of the same shape.
            bits: Of the grid.
            steps: Outcomes on either side of the mean's.
        """
        normal, first, shift = self._normal(mean, deviation, bits, steps)
        cells = (self._coder.decode(*normal) + first) << shift
        split = shift > 0
        cells[split] += self._coder.decode(self._uniform, 1 << shift[split])
        return cells.reshape(mean.shape)

    def push_latents(self, cells, mean: np.ndarray, deviation: np.ndarray, bits: int, steps=NEAR) -> None:
        """Push what `pop_latents` returned, of the same distributions or of others."""
        normal, first, shift = self._normal(mean, deviation, bits, steps)
        cells, split = cells.ravel(), shift > 0
        within = (cells & (1 << shift) - 1)[split]
        self._coder.encode_reverse(within, self._uniform, 1 << shift[split])
        self._coder.encode_reverse((cells >> shift) - first, *normal)

    def _normal(self, mean, deviation, bits: int, steps: int):
        """Return the first step: distributions, the cell at their middle; and the bits of the second."""
        mean, deviation = self._checked(mean, deviation)
        mean = np.clip(mean, -REACH, REACH) * 2.0**bits
        deviation = np.clip(deviation, NARROWEST, WIDEST) * 2.0**bits
        shift = np.maximum(np.floor(np.log2(deviation / 4)), 0).astype("int32")
        mean, deviation = mean / (1 << shift), deviation / (1 << shift)  # 4 to 8, or less
        first = np.floor(mean).astype("int32")
        return (self._models.QuantizedGaussian(-steps, steps), mean - first - 0.5, deviation), first, shift

    def pop_pixels(self, location: np.ndarray, log_scale: np.ndarray) -> np.ndarray:
        """Return grey levels, 0 to 255, of logistic distributions; all of one shape, float32."""
        parts = [self._coder.decode(self._table, table) for _, table in self._tables(location, log_scale)]
        return np.concatenate(parts).reshape(location.shape)

    def push_pixels(self, levels: np.ndarray, location: np.ndarray, log_scale: np.ndarray) -> None:
        """Push what `pop_pixels` returned."""
        levels = levels.ravel().astype("int32")
        for part, table in self._tables(location, log_scale, reverse=True):
            self._coder.encode_reverse(levels[part], self._table, table)

    def _tables(self, location, log_scale, reverse: bool = False) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield which pixels, and their probabilities, (n, 256)."""
        location, log_scale = self._checked(location, log_scale)
        starts = range(0, len(location), SYMBOLS_AT_ONCE)
        for start in reversed(starts) if reverse else starts:
            part = slice(start, start + SYMBOLS_AT_ONCE)
            yield part, level_probabilities(location[part], log_scale[part])

    def _checked(self, *parameters: np.ndarray) -> list[np.ndarray]:
        """Return parameters of distributions as vectors."""
        for values in parameters:
            if not np.isfinite(values).all():
                raise InputError("the model gives numbers that are not finite, and can code nothing")
            if self._noted:
                self._noted.update(values.tobytes())
        return [values.ravel() for values in parameters]


def level_probabilities(location: np.ndarray, log_scale: np.ndarray) -> np.ndarray:
    """Return the probabilities that DiscretizedLogistic gives the 256 grey levels, float32 (n, 256).

    Args:
        location: In units of 255 grey levels, float32 (n,).
        log_scale: float32 (n,).
    """
    below = location[:, None] - BETWEEN_LEVELS
    below *= np.exp(-log_scale)[:, None]
    with np.errstate(over="ignore"):  # infinity, of which the reciprocal is 0
        np.exp(below, out=below)
    below += 1.0
    np.reciprocal(below, out=below)  # sigmoid((level - location) / scale)
    zero, one = np.zeros((len(below), 1), "float32"), np.ones((len(below), 1), "float32")
    return np.maximum(np.diff(below, prepend=zero, append=one), 0.0)
