import hashlib
import io
import os
import resource
import signal
import socket
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import bomb, damage, fill, noise, save
from tools.execute_notebook import ROOT
from vae_lib.data import image_folder
from vae_lib.data.image_file import decode
from vae_lib.utils.errors import InputError


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path_factory, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("system")))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded from here on."""
    paths = []

    def record(path, *settings):
        paths.append(path)
        return decode(path, *settings)

    monkeypatch.setattr(image_folder, "decode", record)
    return paths


def load(root, cache_dir=None, **options):
    return image_folder.load_folder(root, cache_dir or root.parent / "cache", "pictures", "folder", **options)


def parts(data):
    return [{x.tobytes() for x in images} for images in (data.x_train, data.x_val, data.x_test)]


def counts(data):
    return tuple(len(images) for images in (data.x_train, data.x_val, data.x_test))


def pixels(data):
    return np.concatenate([data.x_train, data.x_val, data.x_test])


def labels(data):
    return np.concatenate([data.y_train, data.y_val, data.y_test])


# Splits, labels and layouts


def test_train_and_test_folders_with_classes(root):
    train = fill(root / "train" / "b", 20) | fill(root / "train" / "a", 20, 20)
    test = fill(root / "test" / "a", 4, 40) | fill(root / "test" / "c", 3, 44)
    images = load(root)
    assert counts(images) == (36, 4, 7) and images.class_names == ("a", "b", "c")
    assert isinstance(images.x_train, np.memmap) and images.image_shape == (12, 10, 3)
    found = parts(images)
    assert found[0] | found[1] == train and found[2] == test and not found[0] & found[1]
    expected = {noise(i).tobytes(): 1 if i < 20 else 0 if i < 44 else 2 for i in range(47)}
    assert [expected[x.tobytes()] for x in pixels(images)] == labels(images).tolist()
    assert images.y_train.dtype == np.int64


def test_every_part_is_shuffled_so_that_its_first_images_are_a_fair_sample(root):
    for part in ("train", "test"):
        for k, label in enumerate("abc"):
            fill(root / part / label, 40, 40 * k + (1000 if part == "test" else 0))
    images = load(root)
    for y in (images.y_train, images.y_val, images.y_test):
        assert set(y[:12]) == {0, 1, 2}


def test_class_folders_without_a_split_hold_out_ten_per_cent(root):
    everything = fill(root / "cat", 25) | fill(root / "dog" / "deeper", 25, 25)
    images = load(root)
    assert counts(images) == (41, 4, 5) and images.class_names == ("cat", "dog")
    found = parts(images)
    assert set.union(*found) == everything and sum(map(len, found)) == 50


def test_flat_folder_has_no_labels_and_one_class_has_one(root):
    fill(root, 5)
    flat = load(root)
    assert flat.y_train is None and flat.class_names == ()
    (root / "only").mkdir()
    for file in root.glob("*.png"):
        file.rename(root / "only" / file.name)
    one = load(root)
    assert one.class_names == ("only",) and labels(one).tolist() == [0] * 5


def test_every_image_is_that_of_its_file(root):
    for folder in ("cat", "dog"):
        fill(root / folder, 20, 0 if folder == "cat" else 20)
    images = load(root).subset(n_train=25)
    for part, n in (("train", 25), ("val", 3), ("test", 4)):
        x, files = getattr(images, f"x_{part}"), getattr(images, f"files_{part}")
        assert len(x) == len(files) == n
        for image, file in zip(x, files, strict=True):
            assert np.array_equal(image, np.asarray(Image.open(root / file)))


def test_given_validation_folder_is_the_validation_set(root):
    fill(root / "train", 5), fill(root / "test", 2, 10)
    val = fill(root / "val", 3, 20)
    assert counts(load(root)) == (5, 3, 2)
    assert parts(load(root))[1] == val


def test_train_without_test_holds_out_and_a_class_named_train_is_a_class(root):
    fill(root / "train" / "a", 10)
    assert counts(load(root)) == (8, 1, 1) and load(root).class_names == ("a",)
    fill(root / "bus" / "red", 10, 10)
    assert load(root).class_names == ("bus", "train")


@pytest.mark.filterwarnings("ignore:.*4 images outside")
def test_images_beside_the_split_or_outside_of_classes_give_a_warning(root):
    fill(root / "train", 5), fill(root / "test", 2, 10), fill(root / "extra", 4, 20)
    with pytest.warns(UserWarning, match="4 images outside of train, val and test"):
        assert counts(load(root)) == (4, 1, 2)
    fill(root / "train" / "class", 2, 30)
    with pytest.warns(UserWarning, match="no class folder"):
        assert load(root).y_train is None


def test_other_spellings_of_the_parts_and_folders_of_a_file_server(root):
    train = fill(root / "training" / "cat", 10) | fill(root / "training" / "dog", 10, 10)
    test = fill(root / "testing" / "cat", 4, 40) | fill(root / "testing" / "dog", 3, 44)
    fill(root / "@eaDir" / "cat", 3, 80), fill(root / "training" / "@eaDir", 3, 90)
    images = load(root)
    found = parts(images)
    assert found[0] | found[1] == train and found[2] == test and images.class_names == ("cat", "dog")
    assert images.summary() == (
        "train 18, val 2, test 7 images of 12x10x3; 2 classes (all parts): cat 14, dog 13; "
        "val held out of train"
    )


def test_classes_with_numbers_for_names_are_in_the_order_of_numbers(root):
    for k in range(11):
        fill(root / str(k), 3, 3 * k)
    assert load(root).class_names == tuple(map(str, range(11)))
    fill(root / "other", 3, 50)
    assert load(root).class_names[:3] == ("0", "1", "10")


def test_files_of_other_endings_and_of_none_are_known_by_their_content(root):
    expected = fill(root, 20, shape=(12, 10))
    for i, extension in enumerate((".pgm", ".PPM", ".pnm", "")):
        pixels = noise(100 + i, (12, 10))
        Image.fromarray(pixels).save(root / f"netpbm{i}{extension}", "PNG" if not extension else "PPM")
        expected.add(pixels.tobytes())
    Image.fromarray(noise(200, (12, 10))).save(root / "photo", "JPEG")
    (root / "LICENSE").write_text("no image")
    (root / "photo.heic").write_bytes(b"no image")
    images = load(root)
    assert expected < set.union(*parts(images)) and sum(counts(images)) == 25
    assert images.summary().endswith("files passed over: 1 without an ending, 1 .heic")
    assert images.source == "folder, JPEG files"


def test_more_than_a_tenth_passed_over_is_a_warning(root):
    fill(root, 27)
    for i in range(3):
        (root / f"{i}.heic").touch()
        load(root)
    (root / "table.csv").touch()
    with pytest.warns(UserWarning, match=r"4 of 31 files are passed over \(3 .heic, 1 .csv\); read are bmp"):
        load(root)


@pytest.mark.filterwarnings("ignore:.*passed over")
def test_other_files_hidden_files_and_a_folder_named_like_an_image(root):
    fill(root, 4)
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.png").write_text("no image")
    save(root / ".hidden" / "x.png", noise(50))
    save(root / "x.png" / "inside.png", noise(60))
    os.mkfifo(root / "pipe.png")
    with socket.socket(socket.AF_UNIX) as unix, pytest.warns(UserWarning, match="no class folder"):
        unix.bind(str(root / "socket.png"))
        images = load(root)
    assert set.union(*parts(images)) == {noise(i).tobytes() for i in (0, 1, 2, 3, 60)}


def test_no_symbolic_link_is_followed(root, tmp_path):
    expected = fill(root, 4)
    outside = save(tmp_path / "outside" / "secret.png", noise(99))
    (root / "to_file.png").symlink_to(outside)
    (root / "to_folder").symlink_to(outside.parent)
    (root / "broken.png").symlink_to(tmp_path / "nothing.png")
    (root / "loop").symlink_to(root)
    (root / "self.png").symlink_to(root / "self.png")
    (root / "twice.png").symlink_to(root / "000.png")
    with pytest.warns(UserWarning, match="6 symbolic links, such as .*broken.png.*, are not followed"):
        images = load(root)
    assert set.union(*parts(images)) == expected and len(pixels(images)) == 4


def test_a_root_that_is_a_link_is_followed(root, tmp_path):
    fill(root, 4)
    (tmp_path / "link").symlink_to(root)
    assert len(pixels(load(tmp_path / "link"))) == 4


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_images_name_the_minimum(root, n):
    fill(root, n)
    with pytest.raises(InputError, match="at least 3" if n else "no images found.*png"):
        load(root)


def test_a_folder_that_cannot_be_listed(root):
    with pytest.raises(InputError, match=r"gone': cannot be listed: .*No such file"):
        load(root / "gone")


# Decoding rules


def test_colour_and_grey_pixels_are_exact_and_grey_becomes_colour_only_among_colour(root):
    expected = fill(root, 6, shape=(12, 10))
    grey = load(root)
    assert grey.image_shape == (12, 10, 1) and set.union(*parts(grey)) == expected
    fill(root, 1, 6)
    mixed = load(root)
    assert mixed.image_shape == (12, 10, 3)
    widened = {np.repeat(noise(i, (12, 10))[..., None], 3, axis=2).tobytes() for i in range(6)}
    assert set.union(*parts(mixed)) == widened | {noise(6).tobytes()}


def test_first_frame_of_animations_with_one_warning(root):
    fill(root, 3, shape=(8, 8, 3))
    red, green, blue = (Image.new("RGB", (8, 8), c) for c in ("#ff0000", "#00ff00", "#0000ff"))
    red.save(root / "a.gif", save_all=True, append_images=[green, blue])
    green.save(root / "b.tif", save_all=True, append_images=[blue])
    blue.save(root / "c.webp", save_all=True, append_images=[red], lossless=True)
    green.save(root / "d.png", save_all=True, append_images=[blue])
    red.save(root / "still.gif")
    for _ in range(2):  # decoded, and from the cache
        with pytest.warns(UserWarning, match="4 files hold several frames") as caught:
            images = load(root)
        assert len(caught) == 1
    flat = [tuple(x[0, 0]) for x in pixels(images) if len(np.unique(x.reshape(-1, 3), axis=0)) == 1]
    assert sorted(flat) == [(0, 0, 255)] + [(0, 255, 0)] * 2 + [(255, 0, 0)] * 2


def test_image_size_cuts_the_centre_and_resizes(root):
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 255  # the centred square
    save(root / "wide.png", wide)
    save(root / "tall.png", wide.transpose(1, 0, 2).copy())
    save(root / "exact.png", noise(1, (40, 40, 3)))
    images = load(root, image_size=(40, 40))
    assert images.image_shape == (40, 40, 3)
    contents = {x.tobytes() for x in pixels(images)}
    assert contents == {np.full((40, 40, 3), 255, np.uint8).tobytes(), noise(1, (40, 40, 3)).tobytes()}
    assert pixels(load(root, image_size=(16, 24))).shape == (3, 16, 24, 3)


def test_mixed_sizes_are_listed(root):
    fill(root, 4), fill(root, 2, 4, shape=(30, 20, 3)), fill(root, 1, 6, shape=(300, 20, 3))
    with pytest.raises(InputError, match=r"12x10 \(4\), 30x20 \(2\), 300x20 \(1\).*--image_size"):
        load(root)
    assert pixels(load(root, image_size=(16, 16))).shape == (7, 16, 16, 3)


@pytest.mark.parametrize("shape", [(7, 12, 3), (12, 257, 3), (600, 800, 3)])
def test_sides_the_model_does_not_take(root, shape):
    fill(root, 3, shape=shape)
    with pytest.raises(InputError, match=rf"{shape[0]}x{shape[1]} \(3\).*8 to 256.*--image_size"):
        load(root)


# The range of the pixels


def deep(pixels, bits):
    """Return 8-bit pixels as an image of more bits in 16."""
    return np.rint(pixels / 255 * (2**bits - 1)).astype(np.uint16)


@pytest.mark.parametrize("bits", [9, 10, 11, 12, 14, 16])
@pytest.mark.parametrize("size", [None, (16, 16)])
def test_sixteen_bit_files_are_scaled_by_the_bits_that_the_whole_set_uses(root, bits, size):
    shape = (40, 30)
    bright, dark = [[noise(i, shape) // k for i in range(6)] for k in (1, 20)]
    for part, images in (("train", bright), ("test", dark)):
        for i, image in enumerate(images):
            save(root / "8" / part / f"{i}.png", image)
            save(root / "16" / part / f"{i}{('.png', '.tif')[i % 2]}", deep(image, bits))
    eight, sixteen = (load(root / name, image_size=size) for name in ("8", "16"))
    assert [set(x) for x in parts(eight)] == [set(x) for x in parts(sixteen)]
    assert (
        sixteen.source.startswith(f"folder, {bits}-bit values scaled to 0 to 255")
        and "bit" not in eight.source
    )


def test_files_of_eight_and_sixteen_bits_are_scaled_apart(root):
    expected = fill(root, 4, shape=(12, 10))
    for i in range(10, 16):
        save(root / f"{i}.png", deep(noise(i, (12, 10)), 12))
        expected.add(noise(i, (12, 10)).tobytes())
    images = load(root)
    assert set.union(*parts(images)) == expected
    assert images.source == "folder, 12-bit values scaled to 0 to 255 in 6 of 10 files"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_of_zero_and_one_are_spread_and_others_are_not(root, dtype, decoded):
    masks = [(noise(i, (12, 10)) > 99).astype(dtype) for i in range(6)]
    for i, mask in enumerate(masks):
        save(root / f"{i}.png", mask)
    images = load(root)
    assert set.union(*parts(images)) == {(mask * 255).astype(np.uint8).tobytes() for mask in masks}
    assert images.source == "folder, values 0 and 1 spread to 0 and 255"
    assert load(root).source == images.source and len(decoded) == 12  # not again from the cache
    save(root / "more.png", np.full((12, 10), 20, dtype))
    images = load(root)
    assert {mask.astype(np.uint8).tobytes() for mask in masks} < set.union(*parts(images))
    assert images.source == "folder, no value above 20 of 255"


def test_eight_bit_files_are_decoded_once(root, decoded):
    fill(root, 3, shape=(12, 10))
    assert load(root).source == "folder" and len(decoded) == 3


# Damaged files


def test_all_damaged_files_are_listed(root):
    fill(root, 5, shape=(64, 64, 3))
    n_bad = damage(root)
    with pytest.raises(InputError) as caught, warnings.catch_warnings():
        warnings.simplefilter("error")
        load(root)
    message = str(caught.value)
    assert f"{n_bad} of {n_bad + 5} files cannot be read" in message and "and 1 more" in message
    assert "--skip_bad" in message and "\n" not in message
    assert message.count(".png'") + message.count(".jpg'") >= 6


def test_a_bomb_that_pillow_only_warns_of_is_refused_unread(root, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300_000_000)  # 400 million: above it, below its double
    fill(root, 3), bomb(root / "bomb.png")
    with pytest.raises(InputError, match=r"1 of 4 .*bomb.png' \(DecompressionBombWarning"):
        load(root, image_size=(16, 16))


def test_skip_bad_skips_counts_and_is_instant_after_the_error(root, decoded):
    expected = fill(root, 5, shape=(64, 64, 3))
    n_bad = damage(root)
    with pytest.raises(InputError):
        load(root)
    decoded.clear()
    with pytest.warns(UserWarning, match=f"{n_bad} of {n_bad + 5} files cannot be read and are skipped"):
        images = load(root, skip_bad=True)
    assert images.source == f"folder, {n_bad} unreadable files skipped"
    assert set.union(*parts(images)) == expected and len(pixels(images)) == 5
    assert len(decoded) == n_bad  # only whether these can be read now; the cache of the failed call was used
    with pytest.raises(InputError, match="cannot be read"):
        load(root)  # the cache does not hide the fault


def test_a_file_that_becomes_readable_is_read_though_its_size_and_time_are_unchanged(root, monkeypatch):
    fill(root, 5)
    real = image_folder.decode

    def locked(path, *settings):
        return "PermissionError" if path.name == "003.png" else real(path, *settings)

    with monkeypatch.context() as context:
        context.setattr(image_folder, "decode", locked)
        with pytest.raises(InputError, match=r"1 of 5 files cannot be read: '003\.png'"):
            load(root)
    assert len(pixels(load(root))) == 5


def test_labels_stay_with_their_images_where_bad_files_are_skipped(root):
    for i in range(30):
        save(root / "train" / f"c{i % 3}" / f"{i:02}.png", np.full((8, 8), i, np.uint8))
        save(root / "test" / f"c{i % 3}" / f"{i:02}.png", np.full((8, 8), 100 + i, np.uint8))
    for i in (0, 7, 8, 19):
        (root / "train" / f"c{i % 3}" / f"{i:02}.png").write_bytes(b"")
        (root / "test" / f"c{i % 3}" / f"{i:02}.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="8 of 60"):
        images = load(root, skip_bad=True)
    values = pixels(images)[:, 0, 0, 0].astype(int)
    assert labels(images).tolist() == [value % 100 % 3 for value in values]
    assert counts(images) == (24, 2, 26) and np.all(images.x_test >= 100)


def test_a_folder_of_damaged_files_only(root):
    (root / "a.png").touch()
    with pytest.raises(InputError, match=r"1 of 1 .*no image is left"):
        load(root, skip_bad=True)


# The cache


def test_second_load_decodes_nothing_and_gives_the_same(root, decoded):
    fill(root, 10)
    first = load(root)
    assert set(decoded) == set(root.iterdir())
    decoded.clear()
    second = load(root)
    assert not decoded
    assert np.array_equal(pixels(first), pixels(second)) and first.pixels_sha256 == second.pixels_sha256
    in_file = np.concatenate([first.x_test, first.x_val, first.x_train])
    assert first.pixels_sha256 == hashlib.sha256(in_file.tobytes()).hexdigest()


def test_parts_are_views_of_the_map(root):
    fill(root, 10)
    images = load(root)
    assert isinstance(images.x_val, np.memmap) and not images.x_val.flags.writeable
    assert np.shares_memory(images.x_train.base, images.x_test.base)


def test_progress_is_shown_on_a_terminal_only(root, monkeypatch, capfd):
    fill(root, 10, shape=(12, 10))
    load(root)
    assert capfd.readouterr().err == ""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stderr", Terminal())
    load(root, root.parent / "other")
    assert "decoding images" in sys.stderr.getvalue() and "10/10" in sys.stderr.getvalue()


@pytest.mark.parametrize("change", ["content", "new", "removed", "renamed", "size"])
def test_any_change_of_the_folder_is_seen(root, change):
    fill(root, 10)
    before = load(root)
    size = None
    if change == "content":
        save(root / "003.png", noise(99))
    elif change == "new":
        fill(root, 1, 10)
    elif change == "removed":
        (root / "003.png").unlink()
    elif change == "renamed":
        (root / "003.png").rename(root / "999.png")
    else:
        size = (8, 8)
    after = load(root, image_size=size)
    assert before.pixels_sha256 != after.pixels_sha256
    assert len(list((root.parent / "cache").glob("*.npy"))) == 2


@pytest.mark.parametrize("fault", ["npy cut", "npy empty", "json cut", "json gone", "npy gone"])
def test_a_damaged_cache_is_made_again(root, fault):
    fill(root, 10)
    expected = load(root).pixels_sha256
    file = next((root.parent / "cache").glob(f"*.{fault.split()[0]}"))
    if fault.endswith("gone"):
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: 200 if fault == "npy cut" else 0 if "empty" in fault else 5])
    again = load(root)
    assert again.pixels_sha256 == expected and len(pixels(again)) == 10
    assert image_folder._open_cache(file.with_suffix(""), 10) is not None


def test_an_interrupted_decode_leaves_nothing(root, decoded, monkeypatch):
    fill(root, 6, shape=(12, 10))
    monkeypatch.setattr(image_folder, "_BATCH", 2)

    def interrupt(path, *settings, record=image_folder.decode):
        if len(decoded) == 4:
            raise KeyboardInterrupt
        return record(path, *settings)

    monkeypatch.setattr(image_folder, "decode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load(root)
    assert len(decoded) == 4 and list((root.parent / "cache").iterdir()) == []


def test_a_full_disk_is_an_error_and_leaves_nothing(root):
    fill(root, 30)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(InputError, match=r"cannot be kept: .*free some space"):
            load(root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list((root.parent / "cache").iterdir()) == []


def test_a_data_folder_that_cannot_be_written(root, tmp_path, decoded):
    fill(root, 5)
    (tmp_path / "file").touch()
    images = load(root, tmp_path / "file" / ".cache")
    assert len(pixels(images)) == 5
    assert str(tmp_path / "file") not in str(images.x_train.filename)
    decoded.clear()
    load(root, tmp_path / "file" / ".cache")
    assert not decoded  # kept in the system's temporary folder


@pytest.mark.parametrize(
    "name", ["a b", "line\nbreak", "Bilder für Zoë", "..dots..", "x" * 200, "$(rm)", "日本"]
)
def test_no_name_escapes_the_cache_folder(tmp_path, name):
    root = tmp_path / "in" / name
    fill(root, 3)
    cache = tmp_path / "cache"
    load(root / ".." / name, cache)
    assert len(list(cache.iterdir())) == 2 and sorted(path.name for path in tmp_path.iterdir()) == [
        "cache",
        "in",
    ]
    assert all(set("/\n $()") & set(path.name) == set() for path in cache.iterdir())


def test_file_names_of_any_bytes(root):
    fill(root, 3)
    os.rename(root / "001.png", os.fsencode(root) + b"/\xff\xfe\n.png")
    assert len(pixels(load(root))) == 3
    (root / "line\nbreak.png").touch()
    with pytest.raises(InputError) as caught:
        load(root)
    assert "\n" not in str(caught.value) and r"line\nbreak.png" in str(caught.value)


def test_memory_stays_bounded(root):
    """Decoding holds one batch, not the folder: 6,000 images of 64x64 RGB are 74 MB, one batch is 3."""
    for i in range(20):
        save(root / f"{i}.png", noise(i, (64, 64, 3)))
    for i in range(20, 6000):
        os.link(root / f"{i % 20}.png", root / f"{i}.png")
    code = """
import sys
from pathlib import Path
from vae_lib.data import image_folder
def anonymous():
    return int(open('/proc/self/status').read().split('RssAnon:')[1].split()[0]) / 1024
peak = before = anonymous()
def watch(path, *settings, decode=image_folder.decode):
    global peak
    peak = max(peak, anonymous())
    return decode(path, *settings)
image_folder.decode = watch
images = image_folder.load_folder(Path(sys.argv[1]), Path(sys.argv[2]), "pictures", "folder")
assert images.x_train.nbytes == 4860 * 64 * 64 * 3
print(max(peak, anonymous()) - before)
"""
    result = subprocess.run(
        [sys.executable, "-c", code, root, root.parent / "cache"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert float(result.stdout) < 40  # MiB
