import itertools
import time

import numpy as np
import pytest

from vae_lib.data import sprites
from vae_lib.utils.errors import InputError

SQUARE, ELLIPSE, HEART = range(3)


def area(image):
    return image.sum() / 255


def centre_of_mass(image):
    rows, columns = np.indices(image.shape) + 0.5
    return (rows * image).sum() / image.sum(), (columns * image).sum() / image.sum()


@pytest.mark.parametrize("color, size, channels, k", [(False, 28, 1, 5), (True, 32, 3, 7)])
def test_shapes_types_and_the_grid_is_used_evenly(color, size, channels, k):
    images, factors = sprites.draw_sprites(6000, size, color=color)
    assert images.shape == (6000, size, size, channels) and images.dtype == np.uint8
    assert factors.shape == (6000, k) and factors.dtype == np.int64
    grid = sprites.COLOR_FACTORS if color else sprites.FACTORS
    for column, n_values in zip(factors.T, grid.values(), strict=True):
        counts = np.bincount(column, minlength=n_values)
        assert len(counts) == n_values
        assert np.abs(counts - 6000 / n_values).max() < 5 * np.sqrt(6000 / n_values)


def test_same_seed_same_bytes_other_seed_other_images_and_a_longer_draw_begins_alike():
    images, factors = sprites.draw_sprites(50, 28, seed=3)
    again, _ = sprites.draw_sprites(50, 28, seed=3)
    longer, longer_factors = sprites.draw_sprites(400, 28, seed=3)
    other, _ = sprites.draw_sprites(50, 28, seed=4)
    assert images.tobytes() == again.tobytes() == longer[:50].tobytes()
    assert np.array_equal(factors, longer_factors[:50])
    assert images.tobytes() != other.tobytes()


def test_the_whole_grid_holds_no_image_twice():
    images, factors = sprites.draw_sprites(73_728, 28)
    assert len(np.unique(factors, axis=0)) == 73_728
    assert len({image.tobytes() for image in images}) == 73_728


def test_table_and_images_belong_together():
    images, factors = sprites.draw_sprites(300, 24, color=True, seed=1)
    assert np.array_equal(images, sprites.render(factors, 24))
    assert np.array_equal(images[[7]], sprites.render(factors[[7]], 24))


@pytest.mark.parametrize("size", [28, 63])
@pytest.mark.parametrize(
    "shape, unit_area",
    [(SQUARE, 2.0), (ELLIPSE, np.pi * 0.55), (HEART, (1 / 2 + np.pi / 8) / 0.6306**2)],
)
def test_area_is_that_of_the_exact_shape(shape, unit_area, size):
    # The heart, in its own units, is a square of diagonal 1 on its tip and two half-discs on its upper sides.
    for scale, orientation in itertools.product(range(6), (0, 3, 9)):
        image = sprites.render(np.array([[shape, scale, orientation, 6, 9]]), size)[0, ..., 0]
        radius = size * (0.12 + 0.12 * scale / 5)
        assert area(image) == pytest.approx(unit_area * radius**2, rel=0.04)


@pytest.mark.parametrize("shape", [SQUARE, ELLIPSE])
def test_position_is_where_the_table_says(shape):
    for x, y in itertools.product((0, 5, 15), (0, 8, 15)):
        row, column = centre_of_mass(sprites.render(np.array([[shape, 5, 2, x, y]]), 64)[0, ..., 0])
        assert row == pytest.approx(64 * (0.25 + 0.5 * y / 15), abs=0.05)
        assert column == pytest.approx(64 * (0.25 + 0.5 * x / 15), abs=0.05)


def test_orientation_divides_each_shapes_own_period():
    def draw(
        shape, orientation
    ):  # in the middle of an even grid, so that a quarter turn maps pixels to pixels
        return sprites._coverage(shape, np.array([[shape, 5, orientation, 7.5, 7.5]]), 40)[0]

    for shape in (SQUARE, ELLIPSE, HEART):  # cyclic: 16 is 0 again, and nothing between is
        assert np.allclose(draw(shape, 0), draw(shape, 16), atol=1e-4)
        assert min(np.abs(draw(shape, 0) - draw(shape, k)).max() for k in range(1, 16)) > 0.1
    assert np.allclose(np.rot90(draw(HEART, 0)), draw(HEART, 4), atol=1e-4)  # counter-clockwise
    assert np.allclose(np.rot90(draw(ELLIPSE, 0)), draw(ELLIPSE, 8), atol=1e-4)


def test_upright_heart_points_down_and_is_mirror_symmetric():
    heart = sprites._coverage(HEART, np.array([[HEART, 5, 0, 7.5, 7.5]]), 64)[0]
    assert np.allclose(heart, heart[:, ::-1], atol=1e-5)
    top, *_, tip = np.flatnonzero(heart.max(axis=1) > 0.5)
    assert (heart[tip] > 0).sum() <= 4 and heart[
        top + 1, 31:33
    ].max() == 0  # one tip; a notch between two lobes


def test_edges_are_anti_aliased_and_sprites_stay_inside():
    grid = np.array(list(itertools.product(range(3), (5,), range(16), (0, 15), (0, 15))))
    images = sprites.render(grid, 32)
    assert np.all(np.any((images > 0) & (images < 255), axis=(1, 2, 3)))
    wide = sprites.render(grid, 320)[..., 0]
    assert not wide[:, [0, 1, -2, -1], :].any() and not wide[:, :, [0, 1, -2, -1]].any()


def test_object_is_visible_on_every_background():
    hues = np.array([[SQUARE, 0, 0, 8, 8, front, back] for front in range(8) for back in range(8)])
    images = sprites.render(hues, 32).astype(int)
    inside, outside = images[:, 17, 17], images[:, 0, 0]
    assert np.abs(inside - outside).max(axis=1).min() >= 100
    assert len(np.unique(inside, axis=0)) == len(np.unique(outside, axis=0)) == 8


def test_ten_thousand_images_in_under_two_seconds():
    start = time.process_time()  # of the processor: the machine may have other work
    sprites.draw_sprites(10_000, 28)
    middle = time.process_time()
    sprites.draw_sprites(10_000, 32, color=True)
    assert middle - start < 2 and time.process_time() - middle < 2


@pytest.mark.parametrize("n", [0, -1, 73_729])
def test_refuses_numbers_of_images_that_cannot_be(n):
    with pytest.raises(InputError, match=f"received {n} sprites.*73,728"):
        sprites.draw_sprites(n, 28)


@pytest.mark.parametrize(
    "factors, message",
    [
        (np.zeros((2, 6), int), "shape"),
        (np.zeros(5, int), "shape"),
        (np.zeros((2, 5)), "float64"),
        (np.array([[3, 0, 0, 0, 0]]), "outside the grid"),
        (np.array([[0, 0, -1, 0, 0]]), "outside the grid"),
    ],
)
def test_refuses_tables_that_are_none(factors, message):
    with pytest.raises(InputError, match=message):
        sprites.render(factors, 28)
    with pytest.raises(InputError, match="at least 8"):
        sprites.render(np.zeros((1, 5), int), 7)
