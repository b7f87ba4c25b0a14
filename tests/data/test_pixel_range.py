import numpy as np
import pytest

from vae_lib.data.pixel_range import range_note, to_bytes, white_level


@pytest.mark.parametrize(
    "high, white",
    [
        (0, 255),
        (1, 1),
        (2, 255),
        (255, 255),
        (256, 511),
        (1200, 2047),
        (4095, 4095),
        (4096, 8191),
        (65_535, 65_535),
    ],
)
def test_the_white_level_is_that_of_the_fewest_bits_that_hold_the_largest_value(high, white):
    assert white_level(high) == white_level(np.uint16(high)) == white


@pytest.mark.parametrize("bits", range(8, 17))
def test_pixels_come_back_from_every_bit_depth_and_all_grey_levels_are_used(bits):
    levels, white = np.arange(256, dtype=np.uint8), 2**bits - 1
    assert np.array_equal(to_bytes(np.rint(levels / 255 * white).astype(np.uint16), white), levels)
    ramp = to_bytes(np.arange(white + 1, dtype=np.uint16), white)
    assert ramp[0] == 0 and ramp[-1] == 255 and set(np.diff(ramp)) <= {0, 1}


def test_what_is_unusual_is_said():
    highs = (255, 64, 63, 1, 256, 65_535)
    assert [range_note(high) for high in highs] == [
        "",
        "",
        ", no value above 63 of 255",
        ", values 0 and 1 spread to 0 and 255",
        ", 9-bit values scaled to 0 to 255",
        ", 16-bit values scaled to 0 to 255",
    ]
