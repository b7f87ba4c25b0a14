import pytest

from vae_lib.data.folder_layout import read_layout
from vae_lib.utils.errors import InputError


def layout(*folders):
    return read_layout([f"{folder}/x.png" if folder else "x.png" for folder in folders], "'pictures'")


@pytest.mark.parametrize(
    ("train", "other", "part"),
    [
        ("train", "test", "test"),
        ("training", "testing", "test"),
        ("Train", "Validation", "val"),
        ("TRAIN", "VAL", "val"),
        ("train_images", "test_images", "test"),
        ("images-train", "images-dev", "val"),
        ("TrainSet", "TestSet", "test"),
        ("1_train", "2_valid", "val"),
        ("trainset", "testset", "test"),
    ],
)
def test_usual_spellings_of_a_split(train, other, part):
    found = layout(f"{train}/cat", f"{train}/dog/deeper", f"{other}/cat", other)
    assert found == [("train", "cat"), ("train", "dog"), (part, "cat"), (part, None)]


def test_usual_nestings_of_a_split():
    assert layout("cat/train", "cat/test", "dog/train") == [
        ("train", "cat"),
        ("test", "cat"),
        ("train", "dog"),
    ]
    assert layout("data/train/cat", "data/val/cat") == [("train", "cat"), ("val", "cat")]
    assert layout("data/images_train", "data/images_val") == [("train", None), ("val", None)]
    found = layout("seg_train/seg_train/sea", "seg_test/seg_test/sea", "seg_pred/seg_pred")
    assert found == [("train", "sea"), ("test", "sea"), None]


def test_what_is_no_split_is_classes():
    assert layout("cat", "dog/deeper", "") == [("train", "cat"), ("train", "dog"), ("train", None)]
    assert layout("bus", "train") == [("train", "bus"), ("train", "train")]  # a vehicle
    assert layout("train_station", "test_tube") == [("train", "train_station"), ("train", "test_tube")]
    assert layout("vehicles", "vehicles/train") == [("train", "vehicles")] * 2
    assert layout("training/cat") == [("train", "cat")]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("val", "test"), "folders 'test', 'val' are named like a part .*'train' beside"),
        (("cat", "dog", "Testing"), "folder 'Testing' is named like a part"),
        (("train_x", "test_x", "train_y", "test_y"), "'train_x', 'train_y' are more than one split"),
    ],
)
def test_folders_that_look_like_a_split_but_are_none_are_refused(folders, message):
    with pytest.raises(InputError, match=message):
        layout(*folders)


def test_composed_and_decomposed_accents_are_one_class():
    assert layout("cafe\u0301", "caf\u00e9") == [("train", "caf\u00e9")] * 2
