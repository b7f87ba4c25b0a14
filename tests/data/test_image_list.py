import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.support.pictures import bomb, fill, noise, save
from vae_lib.data.image_list import load_image_list
from vae_lib.data.loading import load_dataset
from vae_lib.utils.errors import InputError


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path_factory, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("system")))


def load(path, shape=(12, 10, 3), **options):
    return load_image_list(path, shape, path.parent / "cache", **options)


def test_every_image_of_a_folder_is_there_in_the_order_of_its_path_whatever_part_it_would_be(tmp_path):
    folder = tmp_path / "new"
    for place, start in (("test", 0), ("train/a", 2), ("", 4), ("val", 6)):
        fill(folder / place, 2, start)
    images = load(folder)
    names = ("004.png", "005.png", "test/000.png", "test/001.png", "train/a/002.png", "train/a/003.png")
    assert images.names == (*names, "val/006.png", "val/007.png")
    numbers = [int(name[-7:-4]) for name in images.names]
    np.testing.assert_array_equal(images.x, np.stack([noise(i) for i in numbers]))
    assert images.source == "image folder new"


def test_a_folder_named_like_a_part_alone_and_a_single_image_are_read(tmp_path):
    fill(tmp_path / "new" / "test", 1)
    for path, name in (("new", "test/000.png"), ("new/test/000.png", "000.png")):
        images = load(tmp_path / path)
        assert images.names == (name,)
        np.testing.assert_array_equal(images.x[0], noise(0))


def test_other_sizes_and_modes_are_converted_to_exact_pixels_and_said(tmp_path):
    folder, grey, large = tmp_path / "new", noise(0, (12, 10)), noise(1, (40, 21, 3))
    save(folder / "a.png", grey)
    save(folder / "b.png", large)
    images = load(folder)
    np.testing.assert_array_equal(images.x[0], np.repeat(grey[..., None], 3, axis=2))
    fitted = ImageOps.fit(Image.fromarray(large), (10, 12), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(images.x[1], np.asarray(fitted))
    assert images.source.endswith("new, 1 of 2 images resized to 12x10")
    images = load(folder, (12, 10, 1))
    np.testing.assert_array_equal(images.x[0, ..., 0], grey)  # grey is grey again, to the bit
    np.testing.assert_array_equal(images.x[1, ..., 0], np.asarray(fitted.convert("L")))
    assert images.source.endswith("resized to 12x10, colour converted to grey")


def test_arrays_are_converted_like_files_and_named_by_their_place(tmp_path):
    x, clear = noise(0, (3, 20, 24, 3)), noise(1, (2, 20, 24, 4))
    np.savez(tmp_path / "a.npz", x_train=x[:2], x_test=x[2:])
    images = load(tmp_path / "a.npz", (12, 10, 1))
    assert images.names == ("x_train[0]", "x_train[1]", "x_test[0]")
    for i in range(3):
        save(tmp_path / "files" / f"{i}.png", x[i])
    np.testing.assert_array_equal(images.x, load(tmp_path / "files", (12, 10, 1)).x)
    assert images.source == "file a.npz, resized to 12x10, colour converted to grey"
    np.save(tmp_path / "clear.npy", clear)
    for i in range(2):
        save(tmp_path / "clear" / f"{i}.png", clear[i])
    np.testing.assert_array_equal(load(tmp_path / "clear.npy").x, load(tmp_path / "clear").x)  # on white
    np.testing.assert_array_equal(load(tmp_path / "clear.npy", (20, 24, 4)).x, clear)


def test_of_a_named_set_the_test_images_are_taken():
    images, digits = load_image_list("Digits", (8, 8, 1)), load_dataset("digits")
    np.testing.assert_array_equal(images.x, digits.x_test)
    assert images.names[3] == "x_test[3]" and images.source == f"test images of {digits.source}"
    assert load_image_list("digits", (28, 28, 3)).x.shape == (len(digits.x_test), 28, 28, 3)


def test_what_cannot_be_read_is_one_clear_error(tmp_path):
    fill(tmp_path / "new", 2)
    (tmp_path / "new" / "zero.png").touch()
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "empty").mkdir()
    bomb(tmp_path / "bomb.png")
    for name, words in (
        ("new", r"1 of 3 files cannot be read: 'zero.png' \(empty\).*--skip_bad"),
        ("notes.txt", "is a file of a kind that is not read"),
        ("missing", "no data set .*missing"),
        ("empty", "no images found"),
        ("bomb.png", "1 of 1 files cannot be read: 'bomb.png'"),
    ):
        with pytest.raises(InputError, match=words):
            load(tmp_path / name)
    with pytest.warns(UserWarning, match="1 of 3 files cannot be read and are skipped"):
        assert load(tmp_path / "new", skip_bad=True).names == ("000.png", "001.png")
    with pytest.raises(InputError, match="the model's images have 4 channels, and these 3: give such images"):
        load(tmp_path / "new" / "000.png", (12, 10, 4))
