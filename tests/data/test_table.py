import numpy as np
import pytest

from vae_lib.data.loading import load_dataset
from vae_lib.data.table import read_csv
from vae_lib.utils.errors import InputError

PIXELS = [f"pixel{i}" for i in range(64)]


def write(path, names, rows):
    path.write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in rows), ""]))
    return path


@pytest.mark.parametrize("place", [0, 64])
def test_a_competitions_table_is_images_and_labels(tmp_path, rng, place):
    x, y = rng.integers(0, 256, (30, 8, 8)), np.arange(30) % 3 + 1
    names = [*PIXELS[:place], "Label", *PIXELS[place:]]
    path = write(tmp_path / "train.csv", names, np.insert(x.reshape(30, 64), place, y, axis=1))
    data = load_dataset(path)
    assert data.source == "file train.csv" and data.class_names == ("1", "2", "3")
    expected = {image.astype(np.uint8).tobytes(): label for image, label in zip(x, y, strict=True)}
    for part in ("train", "val", "test"):
        images, labels = data.images_and_labels(part)
        assert [expected[image.tobytes()] - 1 for image in images] == labels.tolist()


def test_pixels_are_ordered_by_the_numbers_of_their_columns_if_one_word_has_them(tmp_path, rng):
    x = rng.integers(0, 256, (4, 64))
    order = sorted(range(64), key=str)  # pixel0, pixel1, pixel10, ...
    rows = np.column_stack([x[:, order], np.arange(4)])
    mixed = read_csv(write(tmp_path / "a.csv", [*(PIXELS[i] for i in order), "label"], rows))
    np.testing.assert_array_equal(mixed["x_train"].reshape(4, 64), x)
    np.testing.assert_array_equal(mixed["y_train"], np.arange(4))
    places = [f"{i // 8}x{i % 8}" for i in range(64)]
    kept = read_csv(write(tmp_path / "b.csv", places, x))
    np.testing.assert_array_equal(kept["x_train"].reshape(4, 64), x)


def test_a_table_without_labels_and_one_of_unit_floats(tmp_path, rng):
    x = rng.integers(0, 256, (4, 64))
    for name, values in (("whole.csv", x), ("unit.csv", x / 255)):
        data = load_dataset(write(tmp_path / name, PIXELS, values))
        assert data.y_train is None and data.image_shape == (8, 8, 1)
        assert {row.astype(np.uint8).tobytes() for row in x} == {
            image.tobytes() for part in ("train", "val", "test") for image in data.images_and_labels(part)[0]
        }


@pytest.mark.parametrize(
    "names, rows, message",
    [
        (range(64), [range(64)] * 3, "first line holds numbers, and not the names"),
        (PIXELS[:63], [range(63)] * 3, "63 pixels are no square image"),
        (PIXELS, [range(65)] * 3, "64 names of columns, but 65 values in a row"),
        (PIXELS, [range(64), range(63)], "columns changed from 64 to 63"),
        (PIXELS, [["cat", *range(63)]], "could not convert string 'cat'"),
        (PIXELS, [], "no rows"),
        (["label"], [[3], [4]], "0 pixels are no square image"),
        (["a\xff", "\0"], [], "cannot be read"),
    ],
)
def test_other_tables_are_refused_in_one_line(tmp_path, names, rows, message):
    with pytest.raises(InputError, match=message) as caught:
        read_csv(write(tmp_path / "x.csv", map(str, names), rows))
    assert "\n" not in str(caught.value) and "label,pixel0,pixel1" in str(caught.value)
