import hashlib
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vae_lib.apps import compress, decompress, read_images, write_images
from vae_lib.apps.archive import read_archive, write_archive
from vae_lib.models.hierarchical import HierarchicalVAE
from vae_lib.models.vae import VAE
from vae_lib.utils.errors import InputError

SIZES = {"latent_dim": 3, "width": 4, "dense_units": 16}
slow = pytest.mark.slow


def images(n, shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype="uint8")


def alive(vae, seed=0, scale=0.1):
    """Let all weights act: some of a new model are zero, or next to it."""
    rng = np.random.default_rng(seed)
    for weight in vae.trainable_variables:
        weight.assign_add(scale * rng.standard_normal(weight.shape).astype("float32"))
    return vae


@pytest.fixture(scope="module")
def flat():
    return alive(VAE((8, 8, 1), **SIZES))


def round_trip(vae, x, folder, **options):
    path = folder / f"{len(list(folder.iterdir()))}.vae"
    size = compress(vae, x, path, **options)
    assert size == path.stat().st_size
    restored, names = decompress(path, vae)
    assert restored.dtype == np.uint8 and restored.shape == x.shape and (restored == x).all()
    return size, names


@pytest.mark.parametrize(
    ("kind", "shape", "options"),
    [
        (VAE, (8, 8, 1), {}),
        (VAE, (9, 13, 3), {"channels": "independent"}),
        (HierarchicalVAE, (8, 9, 3), {}),
        pytest.param(VAE, (8, 11, 3), {"network": "mlp"}, marks=slow),
        pytest.param(VAE, (8, 8, 4), {}, marks=slow),
        pytest.param(HierarchicalVAE, (17, 9, 1), {"scale_latents": (2,), "scale_blocks": (3,)}, marks=slow),
        pytest.param(HierarchicalVAE, (16, 16, 2), {"channels": "independent"}, marks=slow),
    ],
)
def test_any_images_come_back(kind, shape, options, tmp_path):
    vae = alive(kind(shape, **SIZES, **options))
    ramp = np.broadcast_to(np.linspace(0, 255, shape[1]).astype("uint8")[:, None], shape)
    steps = np.where(np.arange(shape[1])[:, None] % 2, 255, 0) * np.ones(shape)
    odd = [np.zeros(shape), np.full(shape, 255), ramp, steps, *images(7, shape)]
    x = np.stack(odd).astype("uint8")
    for n in (1, len(x)):
        _, names = round_trip(vae, x[:n], tmp_path, check=False)
    assert names[0] == "00.png" and names[-1] == "10.png"


@slow
@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from(["noise", "dark", "few levels"]))
def test_any_number_of_images_comes_back(flat, tmp_path_factory, n, seed, kind):
    x = images(n, (8, 8, 1), seed)
    x = {"noise": x, "dark": x // 64, "few levels": x // 128 * 255}[kind]
    round_trip(flat, x, tmp_path_factory.mktemp("files"), check=False)


@pytest.mark.parametrize("shape", [(8, 8, 1), pytest.param((8, 8, 3), marks=slow)])
def test_a_file_is_as_large_as_the_bound_says(shape, tmp_path):
    vae, n = alive(VAE(shape, **SIZES), scale=0.02), 200
    x = vae.sample(n, draw=True)  # images that the model was made for, in place of a training
    size, _ = round_trip(vae, x, tmp_path, check=False)
    bound = np.mean([-vae.elbo_terms(x, seed=seed)["elbo"].sum() for seed in range(3)]) / math.log(2) / 8
    fixed = compress(vae, x[:1], tmp_path / "one.vae")  # header, checksum and initial bits
    assert abs(size - bound) < 0.005 * bound + fixed


def test_names_belong_to_their_images(flat, tmp_path):
    x, names = images(3, (8, 8, 1)), ["b.png", "sub/ä.png", "a.png"]
    assert round_trip(flat, x, tmp_path, names=names)[1] == tuple(names)
    with pytest.raises(InputError, match="2 names for 3 images"):
        compress(flat, x, tmp_path / "two.vae", names[:2])


def test_another_model_is_refused_by_name(flat, tmp_path):
    compress(flat, images(2, (8, 8, 1)), tmp_path / "a.vae")
    others = alive(VAE((8, 8, 1), **SIZES), seed=1), alive(VAE((8, 8, 1), **SIZES, network="mlp"))
    for other in (*others, alive(VAE((9, 8, 1), **SIZES))):
        with pytest.raises(InputError, match="was made with another model than the one given"):
            decompress(tmp_path / "a.vae", other)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"likelihood": "bernoulli"}, "binary pixels .* --likelihood discretized_logistic"),
        ({"likelihood": "bernoulli", "binarize": True}, "binary pixels"),
        ({"num_classes": 3}, "conditional models cannot code images: train without labels"),
        ({"prior": "flow"}, "models with the prior flow cannot code images: .* --prior normal"),
    ],
)
def test_a_model_without_a_code_for_images_is_refused(options, words, tmp_path):
    with pytest.raises(InputError, match=words):
        compress(VAE((8, 8, 1), **SIZES, **options), images(2, (8, 8, 1)), tmp_path / "a.vae")
    assert not list(tmp_path.iterdir())


def test_images_and_files_that_do_not_fit_are_refused(flat, tmp_path):
    (tmp_path / "there.vae").write_text("older")
    for x, name, words in (
        (images(2, (8, 9, 1)), "a.vae", "of shape"),
        (images(0, (8, 8, 1)), "a.vae", "no images"),
        (images(2, (8, 8, 1)) / 255.0, "a.vae", "must be uint8"),
        (images(2, (8, 8, 1)), "there.vae", "is there already, and is not overwritten"),
        (images(2, (8, 8, 1)), "there.vae/a.vae", "cannot write to"),
    ):
        with pytest.raises(InputError, match=words):
            compress(flat, x, tmp_path / name)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


def with_checksum(content: bytes) -> bytes:
    return content[:-32] + hashlib.sha256(content[:-32]).digest()


def refused_or_equal(path, vae, x) -> bool:
    """Return whether a file was refused; it must be, unless its pixels are the right ones."""
    try:
        restored, _ = decompress(path, vae)
    except InputError as error:
        assert "\n" not in str(error)
        return True
    assert restored.shape == x.shape and (restored == x).all()
    return False


@pytest.mark.parametrize("step", [29, pytest.param(1, marks=slow)])
def test_a_damaged_byte_whose_checksum_was_made_to_fit_gives_no_wrong_pixels(flat, step, tmp_path):
    x, path = images(3, (8, 8, 1)), tmp_path / "a.vae"
    compress(flat, x, path)
    content = path.read_bytes()
    refused = []
    for i in range(0, len(content) - 32, step):
        damaged = bytearray(content)
        damaged[i] ^= 1 << i % 8
        path.write_bytes(with_checksum(bytes(damaged)))
        refused.append(refused_or_equal(path, flat, x))
    assert np.mean(refused) > 0.9


def test_bits_of_anything_give_no_wrong_pixels(flat, tmp_path):
    x, path, rng = images(3, (8, 8, 1)), tmp_path / "a.vae", np.random.default_rng(0)
    compress(flat, x, path)
    header, words = read_archive(path)
    for other in (words[:1], words[1:], words[:-1], np.tile(words, 3), rng.integers(1, 2**32, 60, "uint32")):
        write_archive(path, header, other)
        refused_or_equal(path, flat, x)
    for names in (header.names[:2], tuple(f"{i}.png" for i in range(500))):
        write_archive(path, replace(header, names=names), words)
        assert refused_or_equal(path, flat, x)


CODEC = """
import sys
import numpy as np
from vae_lib.utils.runtime import start_tensorflow

start_tensorflow(1)
from vae_lib.apps import compress, decompress
from vae_lib.apps.archive import read_archive, write_archive
from vae_lib.models.vae import VAE

vae = VAE((16, 16, 1), latent_dim=4)
x = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 1), dtype="uint8")
if sys.argv[1] == "compress":
    compress(vae, x, sys.argv[2])
else:
    print((decompress(sys.argv[2], vae)[0] == x).all())
"""


@slow
def test_arithmetic_that_differs_in_the_last_bits_is_refused(tmp_path):
    def run(command, **environment):
        return subprocess.run(
            [sys.executable, "-c", CODEC, command, tmp_path / "a.vae"],
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )

    assert run("compress").returncode == 0
    assert run("decompress").stdout == "True\n"
    done = run("decompress", TF_ENABLE_ONEDNN_OPTS="0")  # other kernels of the same operations
    error = done.stderr.strip().splitlines()[-1]
    assert done.stdout == "" and "results differ from those of this one in the last bits" in error


# --- Folders ----------------------------------------------------------------------------------------------


def save(folder, name, values, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def test_a_folder_is_read_with_every_pixel_as_it_is(tmp_path):
    x = images(5, (8, 9, 3))
    for i, name in enumerate(("b/1.png", "b/2.bmp", "a.PNG", "c.webp")):
        save(tmp_path, name, x[i], lossless=True)
    save(tmp_path, "d.jpg", x[4])
    (tmp_path / "notes.txt").touch()
    with pytest.warns(UserWarning, match="passed over"):
        pixels, names, size = read_images(tmp_path, (8, 9, 3))
    assert names == ("a.PNG.png", "b/1.png", "b/2.bmp.png", "c.webp.png", "d.jpg.png")
    assert (pixels[:4] == x[[2, 0, 1, 3]]).all()
    assert (pixels[4] == np.asarray(Image.open(tmp_path / "d.jpg"))).all()
    assert size == sum(path.stat().st_size for path in tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("values", "name", "reason"),
    [
        (images(1, (9, 8))[0], "a.png", "9x8"),
        (images(1, (8, 8, 3))[0], "a.png", "RGB"),
        (images(1, (8, 8, 4))[0], "a.png", "transparency"),
        (images(1, (8, 8, 2))[0], "a.png", "transparency"),
        (images(1, (8, 8))[0].astype("uint16") * 7, "a.png", "mode I;16"),
        (images(1, (8, 8))[0].astype("float32"), "a.tiff", "floating-point"),
    ],
)
def test_an_image_that_pixels_would_not_hold_whole_is_refused_by_name(values, name, reason, tmp_path):
    save(tmp_path, "good.png", images(1, (8, 8))[0])
    save(tmp_path, f"sub/{name}", values)
    with pytest.raises(InputError, match=rf"1 of 2 images .*\(8x8, grey\): 'sub/{name}' \(.*{reason}.*\)"):
        read_images(tmp_path, (8, 8, 1))


def test_deep_colour_and_animations_are_refused(tmp_path):
    rows = b"".join(b"\0" + bytes(6 * 8) for _ in range(8))
    write_png16(tmp_path / "deep.png", rows)
    (tmp_path / "deep.ppm").write_bytes(b"P6 8 8 65535\n" + bytes(8 * 8 * 6))
    frames = [Image.fromarray(frame) for frame in images(2, (8, 8, 3))]
    frames[0].save(tmp_path / "frames.webp", save_all=True, append_images=frames[1:], lossless=True)
    with pytest.raises(InputError, match=r"3 of 3 images .*8 bits.*8 bits.*all frames but one"):
        read_images(tmp_path, (8, 8, 3))


def write_png16(path, rows):
    """Write a PNG file of 8x8 pixels of 16-bit colour, which Pillow reads but cannot write."""
    import struct
    import zlib

    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


def test_images_are_written_into_an_empty_folder_only_all_or_none(tmp_path, monkeypatch):
    x, names = images(3, (8, 8, 3)), ("0.png", "sub/1.png", "sub/2.png")
    write_images(x, names, tmp_path / "new")
    pixels, found, _ = read_images(tmp_path / "new", (8, 8, 3))
    assert (pixels == x).all() and found == names
    assert sorted(os.listdir(tmp_path / "new")) == ["0.png", "sub"]
    with pytest.raises(InputError, match="is not empty, and nothing in it is overwritten"):
        write_images(x, names, tmp_path / "new")
    with pytest.raises(FileExistsError):
        write_images(x, ("a.png", "b.png", "a.png"), tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())
    replace, moved = os.replace, []

    def stop_at_the_second(source, target):
        moved.append(target)
        if len(moved) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        write_images(x, ("0.png", "sub/1.png", "2.png"), tmp_path / "third")
    assert not list((tmp_path / "third").iterdir())
