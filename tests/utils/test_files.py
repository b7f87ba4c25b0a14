import errno
import os

import pytest

from vae_lib.utils.files import atomic_write, write_json, write_text, write_together


def test_content_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    write_text(path, "new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_content_and_no_temporary_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, fail)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_of_files_written_together_all_are_replaced_or_none(tmp_path):
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]
    for path in paths[:2]:
        write_text(path, "old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "disk full")

    def write(temporary):
        assert temporary.suffix == ".txt"
        temporary.write_text("new")

    with pytest.raises(OSError, match=r"disk full.*b\.txt"):
        write_together({paths[0]: write, paths[1]: fail, paths[2]: write})
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["old", "old"]
    write_together(dict.fromkeys(paths, write))
    assert {path: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(paths, "new")


def test_json_is_sorted_and_refuses_what_json_has_not(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [0.1]})
    assert path.read_text() == '{\n  "a": [\n    0.1\n  ],\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert '"b": 1' in path.read_text()


def test_a_file_name_that_is_no_utf_8_is_written_out(tmp_path):
    write_text(tmp_path / "a.csv", os.fsdecode(b"caf\xe9.png, \xc3\xa9"))
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "caf\\udce9.png, \u00e9"
