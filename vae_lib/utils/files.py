"""Files that are whole: written atomically, old content or new and never a part of either, and hashed."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from vae_lib.utils.errors import InputError


def atomic_write(path: Path | str, write: Callable[[Path], None]) -> None:
    """Call `write(temp)` on a temporary file beside `path`, fsync it and rename it to `path`.

    Args:
        path: The file to be written or replaced.
        write: Writes the whole content to the path it is given.

    Raises:
        OSError: If the disk is full or the folder is read-only; `path` is then as it was before.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with name_file_in_errors(path):
            write(temporary)
            sync(temporary)
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync(path.parent)


@contextlib.contextmanager
def name_file_in_errors(path: Path):
    """Give an OSError the name of the file or folder that was being written: a full disk names none."""
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
    """Write text atomically, in UTF-8."""
    atomic_write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path | str, content: dict | list) -> None:
    """Write JSON atomically, with sorted keys; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def safe_name(path: Path) -> str:
    """Give a folder's name as a plain file name: letters, digits, dash and underscore only."""
    return re.sub(r"[^\w-]+", "_", path.resolve().name).strip("_")[:40] or "images"


def ensure_writable(folder: Path) -> None:
    """Make a folder and see that it can be written, before any long work.

    Raises:
        InputError: If it cannot.
    """
    probe = folder / ".probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error.strerror}): choose --out") from None
