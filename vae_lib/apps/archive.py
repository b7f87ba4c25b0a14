"""The file of compressed images: a header, the bits, and a checksum of both.

    magic, 8 bytes | length of the header, uint32 | header | bits, uint32 words | SHA-256 of all before

All integers are little-endian; the header is JSON, compressed. A file may come from anywhere: nothing in it
is believed before it is checked.
"""

import hashlib
import itertools
import json
import math
import re
import struct
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path, PureWindowsPath
from unicodedata import normalize

import numpy as np

from vae_lib.utils.errors import InputError
from vae_lib.utils.files import atomic_write

MAGIC = b"vae_lib\x01"  # the last byte is the version of the format
MAX_HEADER = 2**26  # bytes, once decompressed: of the names of some million images
MAX_PIXELS = 2**31  # bytes of all images together
MAX_NAME = 1000  # bytes
FINEST = 8  # bits of the coder's grid


@dataclass(frozen=True)
class Header:
    """What a file says of its images.

    Attributes:
        run: The name of the run whose model made it; "" for a model without one.
        model: Hash of that model.
        machine: What made it, processor and programs, for messages.
        shape: (height, width, channels) of an image.
        pixels: SHA-256 of all pixels.
        names: A relative path for each image, with "/".
        arithmetic: Hash of the model's results on the machine that made it.
        first_bits: Of the coder's grid, for the first image.

    Raises:
        InputError: If the names are not fit for files, there are too many pixels, or values that none has.
    """

    run: str
    model: str
    machine: dict[str, str]
    shape: tuple[int, int, int]
    pixels: str
    names: tuple[str, ...]
    arithmetic: str = ""
    first_bits: int = 1

    def __post_init__(self) -> None:
        check_names(self.names)
        check_size(len(self.names), self.shape)
        if self.first_bits not in range(FINEST + 1) or not all(type(v) is str for v in self.machine.values()):
            raise InputError("impossible values")


def write_archive(path: Path, header: Header, words: np.ndarray) -> int:
    """Write a file, whole or not at all; return its size in bytes."""
    fields = asdict(header) | {"names": _columns(header.names), "n": len(header.names)}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) > MAX_HEADER:
        raise InputError(f"{len(header.names):,} names are too long for a file: make several files")
    packed = zlib.compress(text, 9)
    content = MAGIC + struct.pack("<I", len(packed)) + packed + words.astype("<u4").tobytes()
    content += hashlib.sha256(content).digest()
    atomic_write(path, lambda temporary: temporary.write_bytes(content))
    return len(content)


def read_archive(path: Path) -> tuple[Header, np.ndarray]:
    """Return the header and the bits, uint32, of a file.

    Raises:
        InputError: If there is no such file, it is of another kind, truncated or damaged, or says what no
            file of `write_archive` says.
    """
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}: `compress` makes one")
    content = path.read_bytes()
    start = len(MAGIC) + 4
    if content[: len(MAGIC) - 1] != MAGIC[:-1]:
        raise InputError(f"{path} is no file that `compress` made")
    if content[: len(MAGIC)] != MAGIC and len(content) >= len(MAGIC):
        raise InputError(f"{path} is damaged, or of another version of vae_lib")
    if hashlib.sha256(content[:-32]).digest() != content[-32:]:
        raise InputError(f"{path} is truncated or damaged (its checksum does not fit): take another copy")
    try:
        (length,) = struct.unpack("<I", content[len(MAGIC) : start])
        header = _parse(content[start : start + length])
        words = np.frombuffer(content[start + length : -32], "<u4").astype("uint32")
        if not len(words) or not words[-1]:
            raise ValueError("no bits")
        return header, words
    except (ValueError, KeyError, TypeError, RecursionError, struct.error, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}): take another copy") from None


def _parse(packed: bytes) -> Header:
    unpacking = zlib.decompressobj()
    text = unpacking.decompress(packed, MAX_HEADER)
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("its header is too long or incomplete")
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError("its header is of another kind")
    n, shape = fields.pop("n"), fields["shape"]
    kinds = {"run": str, "machine": dict, "first_bits": int, "names": str}
    kinds |= dict.fromkeys(("model", "arithmetic", "pixels"), str)
    sizes = [n, *shape]
    if fields.keys() != {*kinds, "shape"} or not all(type(fields[name]) is kinds[name] for name in kinds):
        raise ValueError("its header has other entries")
    if len(shape) != 3 or not all(type(size) is int and 0 < size < 2**31 for size in sizes):
        raise ValueError("impossible sizes")
    return Header(**fields | {"shape": tuple(shape), "names": _rows(fields["names"], n)})


def _columns(names: tuple[str, ...]) -> str:
    """Return the first letters of all names, then the second ones, ...: those of numbered files are small."""
    return "".join(itertools.chain.from_iterable(itertools.zip_longest(*names, fillvalue="\0")))


def _rows(columns: str, n: int) -> tuple[str, ...]:
    if len(columns) % n or n > len(columns):
        raise ValueError("incomplete names")
    return tuple(columns[i::n].rstrip("\0") for i in range(n))


def check_size(n: int, shape: tuple[int, int, int]) -> None:
    """Raise InputError if n images are more than a file holds, before there is memory for them."""
    if n * math.prod(shape) > MAX_PIXELS:
        size = "x".join(map(str, shape))
        raise InputError(
            f"a file holds at most {MAX_PIXELS:,} bytes of pixels; received {n:,} images of {size}: make "
            "several files"
        )


def check_names(names: tuple[str, ...]) -> None:
    """Raise InputError unless these are names of different files, all inside of a folder."""
    if not names:
        raise InputError("no images: give at least one")
    known = set(names)
    for name in names:
        parts = name.split("/")
        inside = all(part not in ("", ".", "..") for part in parts) and not PureWindowsPath(name).drive
        plain = not re.search(r"[\x00-\x1f\x7f\\\ud800-\udfff]", name) and normalize("NFC", name) == name
        if not (inside and plain and name.endswith(".png") and len(name.encode()) <= MAX_NAME):
            raise InputError(f"{name!r:.80} cannot be the name of an image: rename it")
        if any("/".join(parts[:i]) in known for i in range(1, len(parts))):
            raise InputError(f"{name!r:.80} lies in a folder that has the name of another image: rename it")
    if len(known) < len(names):
        name = Counter(names).most_common(1)[0][0]
        raise InputError(f"two images have the name {name!r:.80}: rename one")
