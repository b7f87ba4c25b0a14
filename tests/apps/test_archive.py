import hashlib
import json
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_lib.apps.archive import MAGIC, Header, _columns, _rows, read_archive, write_archive
from vae_lib.utils.errors import InputError

WORDS = np.arange(1, 40, dtype="uint32")
HEADER = Header("run", "ab", {"tensorflow": "2"}, (8, 9, 3), "cd", ("0.png", "sub/1.png"), "ef", 3)
NAMES = ("", "/a.png", "../a.png", "b/../../a.png", "./a.png", "b//a.png", "a.png/", "C:/a.png", "c:a.png")
NAMES += (
    "b\\a.png",
    "a\n.png",
    "a\0.png",
    "a\x7f.png",
    "a.jpg",
    "e\u0301.png",
    "\udcff.png",
    997 * "a" + ".png",
)


def packed(content: bytes) -> bytes:
    """Return a file whose checksum fits."""
    return content + hashlib.sha256(content).digest()


def with_header(text: bytes) -> bytes:
    header = zlib.compress(text, 1)
    return packed(MAGIC + struct.pack("<I", len(header)) + header + WORDS.tobytes())


def fields(path) -> dict:
    content = path.read_bytes()
    (length,) = struct.unpack("<I", content[8:12])
    return json.loads(zlib.decompress(content[12 : 12 + length]))


@pytest.fixture
def path(tmp_path):
    write_archive(tmp_path / "images.vae", HEADER, WORDS)
    return tmp_path / "images.vae"


def test_a_file_gives_back_header_and_bits(path):
    header, words = read_archive(path)
    assert header == HEADER and (words == WORDS).all()


def test_every_byte_flipped_and_every_truncation_is_noticed(path):
    content = path.read_bytes()
    flipped = [content[:i] + bytes([content[i] ^ 0x10]) + content[i + 1 :] for i in range(len(content))]
    for damaged in (*flipped, *(content[:i] for i in range(0, len(content), 5)), content + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"damaged|no file that `compress` made") as error:
            read_archive(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changed",
    [
        *({"shape": shape} for shape in ([8, 9], [8, 9, 0], [8, 9, -3], [8, 9, 2.5], ["8", 9, 3], 7, None)),
        *({"n": n} for n in (0, -2, 3, 10**30, 2.0, True, None, "2")),
        *({"names": names} for names in ("", 5, None, ["a", "b"], "00..p/nagg", "\0" * 10)),
        *({"first_bits": bits} for bits in ("3", None, -1, 9, 10**9, True)),
        {"shape": [2**30, 2**30, 4]},
        {"machine": "x"},
        {"machine": {"processor": 5}},
        {"pixels": None},
        {"more": 1},
    ],
)
def test_a_header_that_says_what_none_says_is_refused_before_anything_is_made_of_it(changed, path):
    path.write_bytes(with_header(json.dumps(fields(path) | changed).encode()))
    with pytest.raises(InputError, match="is damaged"):
        read_archive(path)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"null", b"{}", b"[" * 100_000, b"\xff\xfe", b"9" * 10_000, b" " * (2**26 + 1)]
)
def test_a_header_of_other_kinds_or_that_unpacks_to_gigabytes_is_refused(text, path):
    path.write_bytes(with_header(text))
    with pytest.raises(InputError, match="is damaged"):
        read_archive(path)


def test_a_length_of_the_header_beyond_the_file_and_missing_bits_are_refused(path):
    content = path.read_bytes()[:-32]
    (length,) = struct.unpack("<I", content[8:12])
    bare = content[: 12 + length]
    zero, odd = bare + bytes(8), content + b"\1"
    for damaged in (MAGIC + b"\xff" * 4 + content[12:], bare, zero, odd, MAGIC, MAGIC + b"\0\0"):
        path.write_bytes(packed(damaged))
        with pytest.raises(InputError, match="is damaged"):
            read_archive(path)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_out_of_a_folder_or_are_no_plain_names_are_refused(name):
    with pytest.raises(InputError, match="cannot be the name of an image: rename it"):
        replace(HEADER, names=("0.png", name))


def test_names_of_one_file_or_of_a_file_and_its_folder_are_refused():
    for names, words in ((("a.png", "a.png"), "two images have the name 'a.png'"),
                         (("a.png", "a.png/b.png"), "the name of another image")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            replace(HEADER, names=names)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)))
def test_names_by_columns_are_the_same_names(names):
    assert not names or _rows(_columns(tuple(names)), len(names)) == tuple(names)


def test_ten_thousand_numbered_names_cost_next_to_nothing(tmp_path):
    names = tuple(f"{i:05}.png" for i in range(10_000))
    one = write_archive(tmp_path / "one.vae", replace(HEADER, names=names[:1]), WORDS)
    assert write_archive(tmp_path / "all.vae", replace(HEADER, names=names), WORDS) - one < 1000


def test_other_files_and_folders_are_no_archives(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n" + bytes(100))
    (tmp_path / "empty.vae").touch()
    for name, words in (("a.png", "no file that"), ("empty.vae", "no file that"), (".", "there is no file"),
                        ("missing.vae", "there is no file")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            read_archive(tmp_path / name)
