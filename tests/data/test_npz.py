import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vae_lib.data import npz
from vae_lib.utils.errors import InputError


def read_npz(path):
    return npz.checked(npz.read_npz(path), repr(str(path)))[0]


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def images(n, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *(shape or (9, 8))), dtype=np.uint8)


def test_npz_with_and_without_labels_test_images_and_channels(tmp_path):
    x, y = images(5), np.array([[0], [1], [2], [1], [0]], np.uint8)
    full = read_npz(save(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2, 0], more=x))
    assert set(full) == {"x_train", "y_train", "x_test", "y_test"}
    assert np.array_equal(full["x_train"], x[..., None]) and full["x_train"].dtype == np.uint8
    assert full["y_train"].tolist() == [0, 1, 2, 1, 0] and full["y_train"].dtype == np.int64
    color = read_npz(save(tmp_path / "b.npz", x_train=images(4, 9, 8, 3)))
    assert set(color) == {"x_train"} and np.array_equal(color["x_train"], images(4, 9, 8, 3))


@pytest.mark.parametrize(
    "values, expected",
    [
        (images(3).astype(np.int64), images(3)),
        (images(3).astype(np.float32), images(3)),
        (images(3) / 255, images(3)),
        ((images(3) / 255).astype(np.float32), images(3)),
        ((images(3) > 99).astype(np.float64), (images(3) > 99) * np.uint8(255)),
        (np.zeros((3, 9, 8)), np.zeros((3, 9, 8), np.uint8)),
        (np.full((3, 9, 8), 0.502), np.full((3, 9, 8), 128, np.uint8)),
        (images(3) // 128, images(3) // 128 * 255),
        (images(3).astype(np.uint16) * 257, images(3)),
    ],
)
def test_clear_ranges_become_uint8(tmp_path, values, expected):
    found = read_npz(save(tmp_path / "x.npz", x_train=values))["x_train"]
    assert found.dtype == np.uint8 and np.array_equal(found[..., 0], expected)


def test_floats_that_were_divided_twice_are_said_to_be_dark(tmp_path):
    for values, top in ((images(3) / 255 / 255, 1), (images(3) / 255 / 8, 32)):
        _, note = npz.checked({"x_train": values}, "x")
        assert note == f", no value above {top} of 255"
    assert npz.checked({"x_train": images(3) / 255}, "x")[1] == ""


def changed(value):
    x = images(3).astype(np.float64)
    x[1, 2, 3] = value
    return x


@pytest.mark.parametrize(
    "values, message",
    [
        (changed(np.nan), "1 values are NaN or infinite"),
        (changed(-np.inf), "1 values are NaN or infinite"),
        (changed(0.5), "ambiguous range, min 0, max 255, dtype float64"),
        (changed(-1), "ambiguous range, min -1"),
        (changed(256), "ambiguous range, min 0, max 256"),
        (images(3) / 127.5 - 1, "ambiguous range, min -1, max 1, dtype float64"),
        (images(3) / 255 * 1.01, "ambiguous range, min 0, max 1.01"),
        (images(3) // 16 * 1.0, "ambiguous range, min 0, max 15, dtype float64"),
        (images(3).astype(int) - 1, "ambiguous range, min -1, max 254, dtype int64"),
        (images(3).astype(np.uint32) * 258, "ambiguous range, min 0, max 65790, dtype uint32"),
        (images(3) > 99, "dtype bool"),
        (images(3).astype(str), "dtype <U"),
        (images(3) * 1j, "dtype complex128"),
        (images(3)[0], "shape (9, 8)"),
        (
            images(9, 8, 3),
            "shape (9, 8, 3) is that of one image; give (n, height, width, channels), here (1, 9, 8, 3)",
        ),
        (images(3)[:0], "shape (0, 9, 8)"),
        (images(2, 3, 9, 8), "channels last"),
        (images(2, 9, 8, 1)[None], "shape (1, 2, 9, 8, 1)"),
    ],
)
def test_unclear_arrays_are_refused_by_name_and_left_alone(tmp_path, values, message):
    path = save(tmp_path / "x.npz", x_train=values)
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        read_npz(path)
    assert message in str(caught.value) and "x.npz': x_train: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


class Bomb:
    def __reduce__(self):
        return open, (str(Bomb.path), "w")


def test_pickled_objects_are_never_loaded(tmp_path):
    Bomb.path = tmp_path / "executed"
    for path in (tmp_path / "object.npz", tmp_path / "pickle.npz"):
        if path.stem == "object":
            save(path, x_train=np.array([Bomb()] * 3, object))
        else:
            path.write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(InputError, match=r"cannot be read.*np\.savez"):
            read_npz(path)
        assert path.is_file()
    assert not Bomb.path.exists()
    pickle.loads((tmp_path / "pickle.npz").read_bytes()).close()
    assert Bomb.path.exists()  # the fault was a real one


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.99])
def test_truncated_files_are_refused_and_kept(tmp_path, kept):
    path = save(tmp_path / "x.npz", x_train=images(50))
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"x\.npz': cannot be read"):
        read_npz(path)
    assert path.read_bytes() == before


def test_an_encrypted_file_and_one_that_claims_too_much_are_refused(tmp_path):
    path = save(tmp_path / "x.npz", x_train=images(3))
    plain = path.read_bytes()
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = plain.index(signature) + flags
        plain = plain[:at] + bytes([plain[at] | 1]) + plain[at + 1 :]
    path.write_bytes(plain)
    with pytest.raises(InputError, match="encrypted"):
        read_npz(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**13, 8, 8)}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", header.getvalue())
    with pytest.raises(InputError, match="cannot be read"):
        read_npz(path)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = save(tmp_path / "x.npz", x_train=images(50))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"cannot be read: Bad CRC-32"):
        read_npz(path)


def test_wrong_keys(tmp_path):
    with pytest.raises(InputError, match=r"no array x_train, found \['images', 'x_test'\]"):
        read_npz(save(tmp_path / "x.npz", images=images(3), x_test=images(3)))


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"y_train": np.arange(4)}, r"y_train: int64 labels of shape \(4,\); give 3 integers"),
        ({"y_train": np.eye(3, dtype=int)}, r"shape \(3, 3\)"),
        ({"y_train": np.array([0.0, 1.0, 2.0])}, "float64 labels"),
        ({"y_train": np.array([0, -1, 2])}, "integers from 0"),
        ({"y_train": np.array([0, 1, 10**9])}, "at most 9999"),
        ({"y_train": np.arange(3), "x_test": images(2)}, "labels for one of x_train and x_test only"),
        ({"x_test": images(2), "y_test": np.arange(2)}, "labels for one of x_train and x_test only"),
        ({"x_test": images(2, 8, 8)}, r"\(3, 9, 8, 1\) and \(2, 8, 8, 1\)"),
    ],
)
def test_labels_and_test_images_that_do_not_fit(tmp_path, arrays, message):
    with pytest.raises(InputError, match=message):
        read_npz(save(tmp_path / "x.npz", x_train=images(3), **arrays))


DTYPES = st.sampled_from(["uint8", "int16", "int64", "float16", "float32", "float64"])
SHAPES = hnp.array_shapes(min_dims=3, max_dims=4, min_side=1, max_side=4)


@given(st.data(), DTYPES, SHAPES)
def test_whatever_the_numbers_they_become_bytes_without_loss_or_are_refused(
    tmp_path_factory, data, dtype, shape
):
    elements = hnp.from_dtype(np.dtype(dtype)) | st.sampled_from([0, 1, 127, 128, 255])
    values = data.draw(hnp.arrays(dtype, shape, elements=elements))
    path = tmp_path_factory.getbasetemp() / "any.npz"
    try:
        pixels = read_npz(save(path, x_train=values))["x_train"]
    except InputError as error:
        assert "\n" not in str(error) and "x_train" in str(error)
        return
    assert pixels.dtype == np.uint8 and pixels.shape == (*shape, 1)[:4]
    unit = values.max() == 1 or (values.max() < 1 and np.issubdtype(values.dtype, np.floating))
    scale = 255 / (1 if unit else max(255, 2.0 ** int(values.max()).bit_length() - 1))
    np.testing.assert_allclose(pixels.reshape(shape), values.astype(float) * scale, rtol=0, atol=0.5 + 0.1)


@given(hnp.arrays("uint8", hnp.array_shapes(min_dims=4, max_dims=4, max_side=4)))
def test_bytes_survive_the_way_to_unit_floats_and_back(tmp_path_factory, pixels):
    path = tmp_path_factory.getbasetemp() / "unit.npz"
    unit = pixels / np.float32(255)
    assert unit.min() >= 0 and unit.max() <= 1
    assert np.array_equal(read_npz(save(path, x_train=unit))["x_train"], pixels)
