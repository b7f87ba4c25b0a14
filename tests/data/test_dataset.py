import dataclasses

import numpy as np
import pytest

from vae_lib.data.dataset import ImageDataset, fixed_permutation, from_arrays, split_rows, title_of
from vae_lib.data.loading import load_dataset
from vae_lib.utils.errors import InputError


def images(n, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *(shape or (9, 8, 1))), dtype=np.uint8)


def small(**changes):
    fields = {"x_train": images(6), "x_val": images(2, seed=1), "x_test": images(3, seed=2)}
    fields |= {"y_train": np.arange(6), "y_val": np.arange(2), "y_test": np.arange(3)}
    return ImageDataset(**{"name": "small", "source": "here", **fields, **changes})


# Splits


@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize("n", [3, 11, 100, 60_000])
def test_split_rows_are_disjoint_complete_fixed_and_of_the_stated_size(n, test):
    rows = split_rows(n, test=test)
    assert sorted(np.concatenate(list(rows.values()))) == list(range(n))
    assert len(rows["test"]) == (max(1, n // 10) if test else 0)
    assert len(rows["val"]) == min(5000, max(1, (n - len(rows["test"])) // 10))
    assert np.array_equal(rows["train"], split_rows(n, test=test)["train"])
    if n > 50:
        assert not np.array_equal(rows["train"], np.sort(rows["train"]))


def test_fixed_permutation_never_changes():
    assert fixed_permutation(10).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]


# ImageDataset


def test_fingerprint_follows_every_content_and_nothing_else():
    base = small()
    flipped = base.x_val.copy()
    flipped[0, 0, 0, 0] ^= 1
    factors = {f"factors_{p}": np.zeros((n, 2), int) for p, n in (("train", 6), ("val", 2), ("test", 3))}
    others = [
        small(x_val=flipped),
        small(y_test=np.array([0, 1, 1])),
        small(y_train=None, y_val=None, y_test=None),
        small(
            x_train=base.x_train.reshape(6, 8, 9, 1),
            x_val=base.x_val.reshape(2, 8, 9, 1),
            x_test=base.x_test.reshape(3, 8, 9, 1),
        ),
        small(**factors),
        base.subset(n_train=5),
        small(  # the same bytes, cut elsewhere
            x_train=base.x_train[:5],
            y_train=base.y_train[:5],
            x_val=np.concatenate([base.x_train[5:], base.x_val]),
            y_val=np.concatenate([base.y_train[5:], base.y_val]),
        ),
    ]
    prints = {dataset.fingerprint() for dataset in [base, *others]}
    assert len(prints) == 1 + len(others) and all(len(x) == 64 for x in prints)
    assert small(name="other", source="there", class_names=("x", "y")).fingerprint() == base.fingerprint()


def test_without_test_images_the_others_stay_and_it_is_another_data_set():
    data = small()
    part = data.without_test()
    assert (
        part.x_train is data.x_train and part.y_val is data.y_val and part.fingerprint() != data.fingerprint()
    )
    assert part.x_test.shape == (0, 9, 8, 1) and len(part.y_test) == 0 and part.describe()["n_test"] == 0
    assert "test 0 images" in part.summary() and small(y_test=None).without_test().y_test is None


def test_subset_keeps_the_first_of_everything():
    dataset = small(source="here").subset(n_train=4, n_test=100)
    assert [len(x) for x in (dataset.x_train, dataset.x_val, dataset.x_test)] == [4, 2, 3]
    assert dataset.y_train.tolist() == [0, 1, 2, 3]
    assert np.array_equal(dataset.x_train, small().x_train[:4]) and dataset.source == "here"
    assert small(y_train=None).subset(n_train=1).y_train is None
    sprites = load_dataset("sprites").subset(10, 5, 5)
    assert sprites.factors_train.shape == (10, 5) and sprites.factors_test.shape == (5, 5)
    with pytest.raises(InputError, match="n_val: received 0"):
        small().subset(n_val=0)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"x_val": images(2).astype(np.float32)}, "x_val is float32"),
        ({"x_test": images(3, 8, 8, 1)}, r"x_test is uint8 of shape \(3, 8, 8, 1\)"),
        ({"x_train": images(6, 9, 8)}, "x_train"),
        ({"y_val": np.arange(3)}, "3 labels, factors or files for the 2 images of val"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        small(**changes)


def test_dataset_is_frozen_and_its_repr_is_short():
    dataset = small()
    assert repr(dataset) == "ImageDataset('small', 6 + 2 + 3 images of 9x8x1, source='here')"
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "x"
    assert dataset != small() and dataset == dataset  # by identity
    assert hash(dataset)


# Titles


def test_titles_have_the_usual_spelling_or_are_the_name_itself():
    assert [title_of(name) for name in ("mnist", "fashion_mnist", "cifar10")] == [
        "MNIST",
        "Fashion-MNIST",
        "CIFAR-10",
    ]
    assert title_of("sprites") == "sprites" and title_of("holiday_photos") == "holiday_photos"
    assert small(name="cifar10").title == "CIFAR-10" and small().subset(n_train=1).title == "small"
    assert small(title="Small images").subset(n_train=1).title == "Small images"


def test_a_title_changes_neither_the_fingerprint_nor_what_a_run_records():
    other = small(title="Another title")
    assert other.fingerprint() == small().fingerprint() and other.describe() == small().describe()
    assert set(other.describe()) == {
        *("name", "source", "fingerprint", "image_shape", "n_classes", "class_names"),
        *("n_train", "n_val", "n_test"),
    }


# Arrays


def test_arrays_in_memory_make_a_data_set(rng):
    x, y = rng.random((50, 9, 8)), np.arange(50) % 2
    data = from_arrays(x, y, name="my scans", class_names=("bad", "good"))
    assert data.name == "my_scans" and data.source == "arrays in memory" and data.image_shape == (9, 8, 1)
    assert [len(part) for part in (data.x_train, data.x_val, data.x_test)] == [41, 4, 5]
    assert data.class_names == ("bad", "good") and data.x_train.dtype == np.uint8
    assert data.title == "my_scans" and from_arrays(x, name="cifar10").title == "CIFAR-10"
    given = from_arrays(x, x_test=x[:7])
    assert np.array_equal(given.x_test[..., 0], np.rint(255 * x[:7])) and given.y_test is None
    with pytest.raises(InputError, match="ambiguous range"):
        from_arrays(x - 1)
    with pytest.raises(InputError, match="labels for one of"):
        from_arrays(x, y, x)


def test_integers_of_a_set_are_scaled_together_and_so_are_floats():
    x = np.random.default_rng(0).integers(0, 256, (50, 9, 8), dtype=np.uint8)
    deep = (x * 16.06 + 0.5).astype(np.uint16)  # 12 bits
    data = from_arrays(deep, x_test=deep[:7] // 20)
    assert np.array_equal(data.x_test[..., 0], np.rint(deep[:7] // 20 / 4095 * 255))
    assert data.source == "arrays in memory, 12-bit values scaled to 0 to 255"
    assert from_arrays(x // 128).source == "arrays in memory, values 0 and 1 spread to 0 and 255"
    data = from_arrays(x.astype(float), x_test=(x[:7] // 128).astype(float))  # dark images, and no masks
    assert np.array_equal(data.x_test[..., 0], x[:7] // 128) and data.source == "arrays in memory"
    with pytest.raises(InputError, match="x_train and x_test: ambiguous range, min 0, max 255"):
        from_arrays(x / 255, x_test=x[:7].astype(float))


def test_the_classes_are_the_labels_that_there_are():
    images = np.zeros((8, 8, 8), np.uint8)
    data = from_arrays(images, np.array([3, 5] * 4), images[:2], np.array([9, 3]))
    assert data.class_names == ("3", "5", "9") and data.y_test.tolist() == [2, 0]
    assert sorted([*data.y_train, *data.y_val]) == [0] * 4 + [1] * 4
    assert from_arrays(images, np.arange(1, 9)).class_names == tuple("12345678")
