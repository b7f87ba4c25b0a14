import numpy as np
import pytest

from vae_lib.apps.diagnosis.arrays import read_arrays
from vae_lib.utils.errors import InputError


def test_arrays_get_one_name_one_layout_and_one_scale(tmp_path, rng):
    pixels = rng.integers(0, 256, (5, 8, 8, 3), dtype="uint8")
    first = np.moveaxis(pixels, -1, 1)
    np.savez(
        tmp_path / "a.npz", images=first, recon_x=first.reshape(5, -1) / 255, mu=np.ones((5, 2, 2)),
        logvar=np.zeros((5, 4)), epoch=3,
    )  # fmt: skip
    arrays = read_arrays(tmp_path / "a.npz")
    assert {name: array.shape for name, array in arrays.items()} == {
        "x": (5, 8, 8, 3), "reconstruction": (5, 8, 8, 3), "z_mean": (5, 4), "z_log_var": (5, 4),
    }  # fmt: skip
    np.testing.assert_allclose(arrays["x"], pixels / 255, rtol=1e-6)
    np.testing.assert_allclose(arrays["reconstruction"], arrays["x"], rtol=1e-6)


@pytest.mark.parametrize("flat", ["x", "reconstruction"])
def test_rows_of_pixels_have_the_order_of_the_images_beside_them(flat, rng):
    first = rng.random((5, 3, 8, 6))
    arrays = read_arrays({"x": first, "reconstruction": first} | {flat: first.reshape(5, -1)})
    for array in arrays.values():
        np.testing.assert_allclose(array, np.moveaxis(first, 1, -1), rtol=1e-6)


def test_floats_and_masks_keep_their_scale():
    for values in (np.array([[0, 255.0]]), np.array([[0, 1]], "uint8"), np.array([[False, True]])):
        np.testing.assert_array_equal(read_arrays({"x": values})["x"], values)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"weights": np.ones((2, 2))}, "no array of a known name among .'weights'."),
        ({"x": np.ones((2, 4)), "z_mean": np.ones((3, 4))}, "of the same images"),
        (
            {"x": np.ones((2, 4)), "reconstruction": np.ones((2, 5))},
            "x and reconstruction must have one",
        ),
        ({"z_mean": np.ones((2, 4)), "z_log_var": np.ones((2, 5))}, "z_mean and z_log_var must have one"),
        ({"x": np.ones((0, 4))}, r"float64 of shape \(0, 4\)"),
        ({"x": np.ones(4)}, r"shape \(4,\).*one row an image"),
        ({"x": np.array([["a", "b"]])}, "give numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, words, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    for source in (arrays, tmp_path / "a.npz"):
        with pytest.raises(InputError, match=words):
            read_arrays(source)


def test_a_damaged_file_or_one_of_objects_is_refused_and_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "objects.npz", x=np.array([[{}]], dtype=object))
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 and no more")
    for name in ("objects.npz", "damaged.npz"):
        with pytest.raises(InputError, match=f"{name}.*cannot be read"):
            read_arrays(tmp_path / name)
