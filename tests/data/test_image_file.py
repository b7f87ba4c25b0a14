import struct

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import damage, noise, save
from vae_lib.data.image_file import decode, strict_pillow


@pytest.mark.parametrize("extension", ["png", "PNG", "bmp", "tif", "TIFF", "webp"])
def test_lossless_formats_give_exact_pixels(tmp_path, extension):
    options = {"lossless": True} if extension == "webp" else {}
    assert np.array_equal(
        decode(save(tmp_path / f"x.{extension}", noise(0), **options), None).pixels, noise(0)
    )


@pytest.mark.parametrize(
    "orientation, upright",
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90),
    ],
)
@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_exif_rotation_is_applied(tmp_path, orientation, upright, extension):
    # Blocks of 8 pixels of one grey each: JPEG keeps them exactly at quality 100.
    blocks = np.repeat(np.repeat(np.arange(0, 240, 40, dtype=np.uint8).reshape(2, 3), 8, 0), 8, 1)
    pixels = np.repeat(blocks[..., None], 3, axis=2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(
        tmp_path / f"x.{extension}", pixels, exif=exif, **({"quality": 100} if extension == "jpg" else {})
    )
    assert np.array_equal(decode(path, None).pixels, upright(pixels))


def decoded(image, path, **options):
    path.parent.mkdir(exist_ok=True)
    image.save(path, **options)
    result = decode(path, None)
    assert not isinstance(result, str), result
    return result.pixels


def test_cmyk_palette_and_one_bit(tmp_path):
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert np.all(decoded(cmyk, tmp_path / "a.tif") == (0, 255, 255))
    assert np.abs(decoded(cmyk, tmp_path / "a.jpg", quality=100).astype(int) - (0, 255, 255)).max() <= 1

    palette = Image.new("P", (9, 8))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((2, 1), 1)
    pixels = decoded(palette, tmp_path / "b.png")
    assert pixels.shape == (8, 9, 3) and tuple(pixels[1, 2]) == (200, 100, 50)
    assert np.all(np.delete(pixels.reshape(-1, 3), 11, axis=0) == (10, 20, 30))

    bits = np.random.default_rng(0).random((8, 9)) < 0.5
    assert np.array_equal(decoded(Image.fromarray(bits), tmp_path / "c.png")[..., 0], bits * np.uint8(255))


def test_sixteen_bit_grey_of_full_range_is_divided_by_257_and_rounded(tmp_path):
    values = np.array([0, 128, 129, 257, 25_700, 32_767, 65_407, 65_535] * 8, np.uint16).reshape(8, 8)
    expected = [0, 0, 1, 1, 100, 127, 255, 255]
    for name in ("a.png", "a.tif"):
        pixels = decoded(Image.fromarray(values), tmp_path / name)
        assert pixels.shape == (8, 8, 1) and pixels[0, :, 0].tolist() == expected


def test_sixteen_bit_grey_is_scaled_by_the_white_level_and_its_largest_value_is_noted(tmp_path):
    ramp = np.arange(4096).reshape(64, 64)
    for name, values in {
        "a.png": ramp.astype("u2"),
        "b.tif": ramp.astype("u2"),
        "c.tif": ramp.astype("i4"),
    }.items():
        image = decode(save(tmp_path / name, values), None, {16: 4095})
        assert image.bits == 16 and image.high == 4095
        assert np.array_equal(image.pixels[..., 0], np.rint(ramp / 4095 * 255))
    image = decode(save(tmp_path / "d.png", noise(0)), None)
    assert image.bits == 8 and image.high == noise(0).max()


def test_big_endian_sixteen_bit_tiff(tmp_path):
    values = np.arange(64, dtype=">u2").reshape(8, 8) * 257
    entries = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, 1, 122), (278, 3, 1, 8), (279, 4, 1, 128), (277, 3, 1, 1)]
    entries.sort()
    body = b"".join(
        struct.pack(">HHI", tag, kind, n)
        + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, n, value in entries
    )
    header = b"MM\0\x2a\0\0\0\x08" + struct.pack(">H", len(entries)) + body + b"\0\0\0\0"
    assert len(header) == 122
    (tmp_path / "big.tif").write_bytes(header + values.tobytes())
    assert decode(tmp_path / "big.tif", None).pixels.ravel().tolist() == list(range(64))


def test_floating_point_and_wide_integers_are_refused(tmp_path):
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "f.tif")
    Image.fromarray(np.full((8, 8), 70_000, np.int32)).save(tmp_path / "i.tif")
    assert "floating-point" in decode(tmp_path / "f.tif", None)
    assert "outside 0 to 65535" in decode(tmp_path / "i.tif", None)


def test_transparency_is_composited_on_white(tmp_path):
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[0, 0] = (200, 100, 0, 255)
    rgba[0, 1] = (200, 100, 0, 51)  # one fifth
    pixels = decoded(Image.fromarray(rgba), tmp_path / "a.png")
    assert pixels.shape == (8, 8, 3)
    assert pixels[0, 0].tolist() == [200, 100, 0] and pixels[0, 1].tolist() == [244, 224, 204]
    assert pixels[0, 2].tolist() == [255, 255, 255]

    grey = np.zeros((8, 8, 2), np.uint8)
    grey[0, 0], grey[0, 1] = (90, 255), (90, 0)
    pixels = decoded(Image.fromarray(grey), tmp_path / "b.png")
    assert pixels.shape == (8, 8, 1) and pixels[0, :2, 0].tolist() == [90, 255]

    palette = Image.new("P", (8, 8))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((0, 0), 1)
    pixels = decoded(palette, tmp_path / "c.png", transparency=0)
    assert pixels[0, 0].tolist() == [200, 100, 50] and pixels[0, 1].tolist() == [255, 255, 255]


def test_resizing_is_lanczos_of_the_centre_and_sixteen_bit_too(tmp_path):
    pixels = noise(5, (60, 90))
    path = save(tmp_path / "x.png", pixels.astype(np.uint16) * 257)
    expected = Image.fromarray(pixels).resize((16, 16), Image.Resampling.LANCZOS, box=(15, 0, 75, 60))
    assert np.array_equal(decode(path, (16, 16)).pixels[..., 0], np.asarray(expected))


def test_an_image_of_another_size_than_the_model_takes_is_measured_but_not_decoded(tmp_path):
    image = decode(save(tmp_path / "x.png", noise(0, (300, 12, 3))), None)
    assert image.size == (300, 12) and image.pixels is None


def test_the_first_frame_is_used_and_further_ones_are_reported(tmp_path):
    red, blue = (Image.new("RGB", (8, 8), color) for color in ("#ff0000", "#0000ff"))
    red.save(tmp_path / "a.gif", save_all=True, append_images=[blue])
    red.save(tmp_path / "b.gif")
    for name, animated in (("a.gif", True), ("b.gif", False)):
        image = decode(tmp_path / name, None)
        assert image.animated == animated and np.all(image.pixels == (255, 0, 0))


def test_each_fault_is_named(tmp_path):
    damage(tmp_path)
    Image.MAX_IMAGE_PIXELS, before = 1_000_000, Image.MAX_IMAGE_PIXELS
    try:
        with strict_pillow():
            reasons = {path.name: decode(path, (16, 16)) for path in tmp_path.iterdir()}
    finally:
        Image.MAX_IMAGE_PIXELS = before
    assert all(isinstance(reason, str) for reason in reasons.values()), reasons
    assert reasons["zero.png"] == "empty"
    assert reasons["text.png"] == reasons["script.png"] == "not an image of a known format"
    assert "DecompressionBomb" in reasons["bomb.png"]
    assert "truncated" in reasons["cut.jpg"]
