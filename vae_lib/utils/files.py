"""Atomic file writes: old content or new, never a part of either, for one file or several; and hashes."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from vae_lib.utils.errors import InputError


def write_together(writers: Mapping[Path, Callable[[Path], None]]) -> None:
    """Write several files, all or none: each beside its place and flushed to the disk, then all renamed.

    Args:
        writers: File to be written or replaced -> function that writes its whole content to the path that
            it is called with. That path has the ending of the file.

    Raises:
        OSError: If the disk is full or a folder is read-only; all files are then as they were before.
    """
    temporary = {path: path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}") for path in writers}
    try:
        for path, write in writers.items():
            with name_file_in_errors(path):
                write(temporary[path])
                sync(temporary[path])
        for path in writers:
            with name_file_in_errors(path):
                os.replace(temporary[path], path)
    finally:
        for path in temporary.values():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    for folder in {path.parent for path in writers}:
        sync(folder)


def atomic_write(path: Path | str, write: Callable[[Path], None]) -> None:
    """Write one file as `write_together` does: whole, or not at all."""
    write_together({Path(path): write})


@contextlib.contextmanager
def name_file_in_errors(path: Path):
    """Name the file or folder being written in an OSError: that of a full disk names none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows has no handle on a folder to flush
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path | str, text: str) -> None:
    """Write text atomically, in UTF-8, as `utf8` gives it."""
    atomic_write(path, lambda temporary: temporary.write_bytes(utf8(text)))


def utf8(text: str) -> bytes:
    """Return text in UTF-8; of a file name that is none, the bytes are written as backslash and code."""
    return text.encode("utf-8", errors="backslashreplace")


def write_json(path: Path | str, content: dict | list) -> None:
    """Write JSON atomically, with sorted keys; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def safe_name(path: Path) -> str:
    """Return a folder's name as a plain file name: letters, digits, dash and underscore only."""
    return re.sub(r"[^\w-]+", "_", path.resolve().name).strip("_")[:40] or "images"


def ensure_writable(folder: Path, option: str = "--out") -> None:
    """Make a folder, and raise InputError if it cannot be written, before any long work."""
    probe = folder / ".probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error.strerror}): choose {option}") from None
