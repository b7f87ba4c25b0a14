"""Image files for the tests: intact ones, and one of each fault."""

import random
import struct
import zlib

import numpy as np
from PIL import Image


def noise(seed, shape=(12, 10, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def fill(folder, n, start=0, shape=(12, 10, 3)):
    """Write n different PNG files; return the set of their pixels."""
    for i in range(start, start + n):
        save(folder / f"{i:03}.png", noise(i, shape))
    return {noise(i, shape).tobytes() for i in range(start, start + n)}


def bomb(path):
    """Write a PNG of 20,000 x 20,000 pixels in one megabyte."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(b"\0" * 20_001 * 100)), (b"IEND", b"")]
    data = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def damage(root):
    """Put one file of each fault into the folder; return their number."""
    (root / "zero.png").touch()
    (root / "text.png").write_text("this is no picture")
    for extension in ("png", "jpg", "gif", "bmp", "tif", "webp"):
        whole = save(root / f"cut.{extension}", noise(7, (64, 64, 3)))
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    bomb(root / "bomb.png")
    (root / "fake.jpg").write_bytes(b"\xff\xd8\xff\xe0" + random.Random(0).randbytes(500))
    Image.new("RGB", (16, 16)).save(root / "script.eps")
    (root / "script.eps").rename(root / "script.png")  # a format that starts a program
    return 11
