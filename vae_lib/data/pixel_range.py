"""The range of pixels: one rule for folders, files and arrays, over all images of a set at once.

- Whole numbers up to 255 are grey levels already, and kept.
- Of whole numbers up to 65535, the white level is that of the set's own bit depth, the fewest bits that hold
  its largest value: of 12-bit images, 4095 becomes 255. So at least half of the grey levels are used.
- Where the largest value is 1, as in masks, 1 becomes 255.
"""

import re

import numpy as np

MAX_VALUE = 65535  # the largest whole number that is read


def white_level(high: int) -> int:
    """Return the value that becomes 255 in a set of whole numbers whose largest is `high`."""
    return 1 if high == 1 else max(255, 2 ** int(high).bit_length() - 1)


def range_note(high: int) -> str:
    """Return what is to be known of the range of such a set, for its `source`; "" if it is as usual."""
    if high > 255:
        return f", {int(high).bit_length()}-bit values scaled to 0 to 255"
    if high == 1:
        return ", values 0 and 1 spread to 0 and 255"
    return f", no value above {high} of 255" if high < 64 else ""


def scaling(source: str) -> set[str]:
    """Return how pixels became 0 to 255, by the notes of a source; empty if they had that range."""
    return set(re.findall(r"\d+-bit values scaled to 0 to 255|values 0 and 1 spread to 0 and 255", source))


def to_bytes(values: np.ndarray, white: int) -> np.ndarray:
    """Return pixels from 0 to `white` as uint8, rounded."""
    if white == 255:
        return values.astype(np.uint8, copy=False)
    pixels = np.empty(values.shape, np.uint8)
    for i, part in enumerate(values):  # one at a time, to save memory
        pixels[i] = np.rint(part * 255.0 / white)
    return pixels
