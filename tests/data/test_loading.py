import itertools
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tools.execute_notebook import ROOT
from vae_lib.data import dataset as dataset_module
from vae_lib.data import download, loading
from vae_lib.data.loading import load_dataset, load_or_stand_in
from vae_lib.utils.errors import InputError


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "no_keras"))
    monkeypatch.setattr(download, "DEBIAN_FASHION_MNIST", tmp_path / "no_debian")
    monkeypatch.delenv("VAE_EMBEDDED_ONLY", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")


def images(n, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *(shape or (9, 8, 1))), dtype=np.uint8)


def write_folder(root, n=20, shape=(10, 9, 3), classes=("a", "b")):
    for i in range(n):
        path = root / classes[i % len(classes)] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images(1, *shape, seed=i)[0]).save(path)


def contents(dataset):
    return [[x.tobytes() for x in part] for part in (dataset.x_train, dataset.x_val, dataset.x_test)]


# The embedded sets


@pytest.mark.parametrize(
    "name, shape, counts, n_factors",
    [
        ("digits", (8, 8, 1), (1457, 161, 179), 0),
        ("sprites", (28, 28, 1), (18_000, 2_000, 4_000), 5),
        ("color_sprites", (32, 32, 3), (18_000, 2_000, 4_000), 7),
    ],
)
def test_embedded_sets(name, shape, counts, n_factors, tmp_path):
    dataset = load_dataset(name, tmp_path / "nothing")
    assert dataset.name == name and dataset.image_shape == shape
    assert "embedded" in dataset.source and str(tmp_path) not in dataset.source
    for part, n in zip(("train", "val", "test"), counts, strict=True):
        x, y, factors = (getattr(dataset, f"{field}_{part}") for field in ("x", "y", "factors"))
        assert x.shape == (n, *shape) and x.dtype == np.uint8
        assert y.shape == (n,) and y.dtype == np.int64
        assert set(y) == set(range(len(dataset.class_names)))
        assert (factors is None) if not n_factors else factors.shape == (n, n_factors)
    assert len(dataset.factor_names) == n_factors
    if n_factors:
        train, val, test = map(set, contents(dataset))
        assert len(train) + len(val) + len(test) == 24_000  # no image twice
        assert not train & val and not train & test and not val & test
    assert not (tmp_path / "nothing").exists()


def test_factors_labels_and_images_keep_together():
    from vae_lib.data import sprites

    dataset = load_dataset("color-sprites", image_size=16)
    for part in ("train", "val", "test"):
        factors = getattr(dataset, f"factors_{part}")
        assert np.array_equal(sprites.render(factors[:200], 16), getattr(dataset, f"x_{part}")[:200])
        assert np.array_equal(factors[:, 0], getattr(dataset, f"y_{part}"))
    assert dataset.class_names == ("square", "ellipse", "heart")


# Arrays


def test_named_npz_is_served_first_and_split_by_a_fixed_permutation(tmp_path):
    x, y = images(100, 28, 28), np.arange(100) % 10
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=x[:7] // 2, y_test=y[:7])
    dataset = load_dataset("MNIST", tmp_path)
    assert [len(part) for part in contents(dataset)] == [90, 10, 7]
    assert np.array_equal(dataset.x_test[..., 0], x[:7] // 2) and dataset.y_test.tolist() == y[:7].tolist()
    where = {image.tobytes(): i for i, image in enumerate(x)}
    rows = [where[image.tobytes()] for image in np.concatenate([dataset.x_train, dataset.x_val])]
    assert sorted(rows) == list(range(100)) and rows != list(range(100))
    assert np.array_equal(np.concatenate([dataset.y_train, dataset.y_val]), y[rows])
    np.random.seed(1)  # noqa: NPY002 the split follows no seed of the run
    again = load_dataset("mnist", tmp_path)
    assert contents(again) == contents(dataset) and again.fingerprint() == dataset.fingerprint()
    assert "mnist.npz" in dataset.source and str(tmp_path) not in dataset.source
    assert dataset.class_names == tuple("0123456789") and dataset.title == "MNIST"


def test_npz_by_path_without_labels_or_test_images(tmp_path):
    np.savez(tmp_path / "my own.npz", x_train=images(50, 9, 8))
    dataset = load_dataset(tmp_path / "my own.npz")
    assert [len(part) for part in contents(dataset)] == [41, 4, 5] and dataset.name == "my_own"
    assert len(set(itertools.chain(*contents(dataset)))) == 50
    assert dataset.y_train is None and dataset.class_names == () and dataset.source == "file my own.npz"
    np.savez(tmp_path / "labels.npz", x_train=images(50, 9, 8), y_train=np.arange(50) % 4)
    assert load_dataset(tmp_path / "labels.npz").class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    "values, white, note",
    [
        (lambda x: x, 255, ""),
        (lambda x: x // 128, 1, ", values 0 and 1 spread to 0 and 255"),
        (lambda x: x // 16, 255, ", no value above 15 of 255"),
        (lambda x: x.astype(np.uint16) * 16, 4095, ", 12-bit values scaled to 0 to 255"),
        (lambda x: x.astype(np.uint16) * 5, 2047, ", 11-bit values scaled to 0 to 255"),
        (lambda x: x.astype(np.uint16), 255, ""),
    ],
)
def test_folder_npz_npy_and_csv_have_one_rule_for_the_range_of_pixels(tmp_path, values, white, note):
    x = values(images(40, 8, 8))
    (tmp_path / "folder").mkdir()
    for i, image in enumerate(x):
        Image.fromarray(image).save(tmp_path / "folder" / f"{i:02}.png")
    np.savez(tmp_path / "x.npz", x_train=x)
    np.save(tmp_path / "x.npy", x)
    columns = ",".join(f"pixel{i}" for i in range(64))
    np.savetxt(tmp_path / "x.csv", x.reshape(40, 64), "%d", ",", header=columns, comments="")
    expected = sorted(image.tobytes() for image in np.rint(x / white * 255).astype(np.uint8))
    for path in ("folder", "x.npz", "x.npy", "x.csv"):
        data = load_dataset(tmp_path / path, tmp_path)
        assert sorted(itertools.chain(*contents(data))) == expected
        assert data.source == f"{'image folder' if path == 'folder' else 'file'} {path}{note}"


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"x_train": images(2, 9, 8)}, "2 training images; give at least 3"),
        ({"x_train": images(1, 9, 8), "x_test": images(1, 9, 8)}, "1 training images; give at least 2"),
        ({"x_train": images(9, 7, 8)}, r"shape \(7, 8, 1\).*8 to 256"),
        ({"x_train": images(9, 257, 8, 3)}, r"shape \(257, 8, 3\).*8 to 256"),
        (
            {"x_train": images(9, 9, 8), "y_train": np.arange(9) + 2},
            "a label is 10; mnist has the labels 0 to 9",
        ),
    ],
)
def test_arrays_the_model_does_not_take(tmp_path, arrays, message):
    np.savez(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load_dataset("mnist", tmp_path)
    assert (tmp_path / "mnist.npz").is_file()


def test_a_fashion_mnist_file_that_is_another_is_refused(tmp_path):
    x, y = images(20, 28, 28), np.arange(20) % 10
    np.savez(tmp_path / "fashion_mnist.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(InputError, match="x_train is not the published Fashion-MNIST"):
        load_dataset("fashion_mnist", tmp_path)
    assert load_dataset(tmp_path / "fashion_mnist.npz").name == "fashion_mnist"  # by path: your own


# Folders


def test_named_folder_and_its_classes(tmp_path):
    write_folder(tmp_path / "cifar10")
    dataset = load_dataset("cifar10", tmp_path)
    assert dataset.name == "cifar10" and dataset.class_names == ("a", "b")
    assert dataset.source == "image folder cifar10" and isinstance(dataset.x_train, np.memmap)
    assert np.shares_memory(dataset.x_train.base, dataset.x_test.base)
    for part in ("train", "val", "test"):
        x, y = getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}")
        expected = {images(1, 10, 9, 3, seed=i)[0].tobytes(): i % 2 for i in range(20)}
        assert [expected[image.tobytes()] for image in x] == y.tolist()
    assert (tmp_path / ".cache").is_dir()


def test_source_says_how_a_folder_was_read(tmp_path, monkeypatch):
    write_folder(tmp_path / "my" / "photos")
    (tmp_path / "my" / "photos" / "a" / "bad.png").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="1 of 21"):
        dataset = load_dataset("my/photos", image_size=(16, 8), skip_bad=True)
    assert dataset.source == "image folder my/photos, resized to 16x8, 1 unreadable files skipped"
    assert dataset.image_shape == (16, 8, 3) and dataset.name == dataset.title == "photos"


def test_messages_are_one_line_even_for_such_a_name(tmp_path):
    (tmp_path / "a\nb").mkdir()
    (tmp_path / "a\nb.npz").touch()
    for path in (tmp_path / "a\nb", tmp_path / "a\nb.npz", tmp_path / "a\nc"):
        with pytest.raises(InputError) as caught:
            load_dataset(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["..", "a b\nc", "Zoë", "../x"])
def test_names_are_fit_for_file_names(tmp_path, name):
    root = tmp_path / "in" / "here" / name
    write_folder(root)
    dataset = load_dataset(root, tmp_path / "data")
    assert not set("/\\ \n.") & set(dataset.name) and dataset.name
    assert "\n" not in dataset.source and ".." not in dataset.source


# What is not available


@pytest.mark.parametrize("name", ["", "no_such_set", "mnsit", "nothing.npz", "./mnist"])
def test_unknown_names_and_paths(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no data set .*mnist, digits, fashion_mnist, cifar10, sprites"):
        load_dataset(name, tmp_path)


def test_a_file_that_is_no_data_set(tmp_path):
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(InputError, match=r"x\.txt.*not read: give a folder.*np\.savez"):
        load_dataset(tmp_path / "x.txt")
    with pytest.raises(InputError, match=r"y\.txt.*nor the path of a folder.*spelling"):
        load_dataset(tmp_path / "y.txt")


@pytest.mark.parametrize("size", [0, 7, 257, -28, 28.0, "28", (28,), (28, 28, 3), (28, 300), True])
def test_image_sizes_that_are_none(size):
    with pytest.raises(InputError, match="--image_size: received"):
        load_dataset("sprites", image_size=size)


def test_image_size_is_for_folders_and_square_sprites(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=images(20, 12, 12))
    assert load_dataset(tmp_path / "x.npz", image_size=12).image_shape == (12, 12, 1)
    with pytest.raises(InputError, match=r"--image_size: received 16x16.*12x12.*only folders"):
        load_dataset(tmp_path / "x.npz", image_size=16)
    with pytest.raises(InputError, match="--image_size: received 16x24; sprites are square"):
        load_dataset("sprites", image_size=(16, 24))


@pytest.mark.parametrize(
    "name, stand_in", [("mnist", "digits"), ("fashion-mnist", "sprites"), ("cifar10", "color_sprites")]
)
def test_stand_ins_say_that_they_are(name, stand_in, tmp_path, monkeypatch):
    with pytest.raises(download.UnavailableError):
        load_dataset(name, tmp_path)
    dataset = load_or_stand_in(name, tmp_path)
    assert dataset.name == stand_in
    assert dataset.source.startswith(f"stand-in for {name.replace('-', '_')}: embedded {stand_in} (")
    assert (
        dataset.title
        == {"digits": "MNIST", "sprites": "Fashion-MNIST"}.get(stand_in, "CIFAR-10") + " stand-in"
    )
    assert dataset.fingerprint() == load_dataset(stand_in).fingerprint()


def test_a_stand_in_has_the_size_that_is_asked_for(tmp_path):
    assert load_or_stand_in("fashion_mnist", tmp_path, image_size=16).image_shape == (16, 16, 1)


def test_embedded_only_takes_the_stand_in_without_looking(tmp_path, monkeypatch):
    np.savez(tmp_path / "mnist.npz", x_train=images(20, 28, 28))
    assert load_or_stand_in("mnist", tmp_path).name == "mnist"
    monkeypatch.setenv("VAE_EMBEDDED_ONLY", "1")
    monkeypatch.setattr(loading, "find_named", None)
    assert load_or_stand_in("mnist", tmp_path).source.startswith("stand-in for mnist: embedded digits")
    assert load_or_stand_in("digits").source == "embedded digits (scikit-learn)"


def test_a_damaged_file_is_no_reason_for_a_stand_in(tmp_path):
    (tmp_path / "mnist.npz").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(InputError, match=r"mnist\.npz': cannot be read"):
        load_or_stand_in("mnist", tmp_path)


def test_a_folders_fingerprint_is_that_of_its_content_and_its_pixels_are_not_hashed_again(
    tmp_path, monkeypatch
):
    write_folder(tmp_path / "photos")
    dataset = load_dataset(tmp_path / "photos", tmp_path)
    hashed = []
    original = dataset_module._sha256
    monkeypatch.setattr(dataset_module, "_sha256", lambda *arrays: hashed.extend(arrays) or original(*arrays))
    first = dataset.fingerprint()
    assert dataset.fingerprint() == first and not any(a is not None and a.ndim == 4 for a in hashed)
    other = load_dataset(tmp_path / "photos", tmp_path / "elsewhere")
    assert other.fingerprint() == first
    assert dataset.subset(n_train=10**6) is dataset
    smaller = dataset.subset(n_train=len(dataset.x_train) - 1)
    assert smaller.fingerprint() != first and any(a is not None and a.ndim == 4 for a in hashed)


def test_subset_of_a_folder_stays_mapped(tmp_path):
    write_folder(tmp_path / "photos")
    assert isinstance(load_dataset(tmp_path / "photos", tmp_path).subset(n_train=3).x_train, np.memmap)


def test_every_named_set_is_known_with_dash_and_underscore():
    assert loading.NAMES == ("mnist", "digits", "fashion_mnist", "cifar10", "sprites", "color_sprites")
    assert loading.known_name("Fashion-MNIST") == "fashion_mnist" and loading.known_name("./mnist") is None


def test_jpeg_files_are_named_as_such_for_their_pixels_are_not_the_originals(tmp_path, rng):
    (tmp_path / "photos").mkdir()
    for i in range(6):
        pixels = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(
            tmp_path / "photos" / f"{i}.{'JPG' if i else 'png'}", format="JPEG" if i else "PNG"
        )
    assert load_dataset(tmp_path / "photos", tmp_path).source == "image folder photos, JPEG files"


def test_digits_are_real_and_use_the_whole_range():
    dataset = load_dataset("digits")
    everything = np.concatenate([dataset.x_train, dataset.x_val, dataset.x_test])
    assert everything.shape == (1797, 8, 8, 1) and everything.max() == 255
    assert len(np.unique(everything)) == 17
    assert dataset.source == "embedded digits (scikit-learn)"
    from sklearn.datasets import load_digits

    levels, labels = load_digits(return_X_y=True)
    expected = dict(zip((image.astype(np.uint8).tobytes() for image in levels), labels, strict=True))
    shown = np.rint(dataset.x_train * (16 / 255)).astype(np.uint8)
    assert [expected[image.tobytes()] for image in shown] == dataset.y_train.tolist()


def test_importing_the_data_modules_imports_no_framework():
    frameworks = "{'tensorflow', 'keras', 'sklearn', 'pandas', 'pooch', 'requests'}"
    code = f"import sys, vae_lib.data.loading; print({frameworks} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.strip() == "set()"
