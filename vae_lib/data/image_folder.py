"""A folder of images as one memory-mapped array, decoded once.

Layout: `<root>/train/<class>/*` and `<root>/test/<class>/*` (with `val/` too, if it is there), or
`<root>/<class>/*`, or `<root>/*`. What a split lacks is held out of the training images.

What is taken, by rule:

- Files are chosen by extension (`EXTENSIONS`, any case) and recognised by content. Hidden files and folders
  are ignored. No symbolic link below the root is followed: it may leave the folder, run in a circle, or show
  one image twice, in train and in test. Links are counted in a warning.
- How a file becomes pixels is told in `decoding`. Of an animation the first frame is taken, with a warning.
- If all images are grey (by their mode) there is 1 channel, else 3.
- Without an image size, all images must have the same one.
- A file that cannot be read is an error, or is skipped and counted when asked for.

The cache is keyed by each file's path, size and modification time, for hashing the bytes would mean to read
gigabytes at every start; whoever alters an image in place and restores both must delete the cache. It may be
deleted at any time.
"""

import hashlib
import io
import json
import os
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vae_lib.config import MAX_SIDE, MIN_SIDE
from vae_lib.data.dataset import MIN_IMAGES, fixed_permutation, split_counts
from vae_lib.data.image_file import Size, decode, strict_pillow
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import atomic_write, safe_name, write_json

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})

_CACHE_VERSION = 2

_BATCH = 256  # files between two progress reports, and the most decoded images held in memory

_HEADER_BYTES = 128  # of an .npy file, for any shape used here

_PARTS = ("train", "val", "test")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FolderImages:
    """A decoded folder, in an order that makes each part of the split one slice.

    Attributes:
        pixels: Memory-mapped uint8 images, shape (n, height, width, channels).
        slices: The rows of `train`, `val` and `test`.
        labels: Index of each image's class, int64 (n,), or None without class folders.
        class_names: Names of the class folders, sorted.
        sha256: Hash of the pixels' bytes.
        n_bad: Number of unreadable files left out.
        n_jpeg: Number of JPEG files: lossy copies, whose bits per dim are not those of the originals.
    """

    pixels: np.ndarray
    slices: dict[str, slice]
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    sha256: str
    n_bad: int
    n_jpeg: int


@dataclass(frozen=True)
class _File:
    relative: str  # with "/"
    size: int
    mtime_ns: int
    part: str = "train"
    label: str | None = None


def load_folder(
    root: Path,
    cache_dir: Path,
    *,
    image_size: Size | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> FolderImages:
    """Decode a folder of images, or map the array that an earlier call has made of it.

    Args:
        root: The folder.
        cache_dir: Where the array is kept; the system's temporary folder where this cannot be written.
        image_size: (height, width) to crop and resize to; None takes the images as they are.
        skip_bad: Leave out the files that cannot be read, with a warning, instead of failing.
        progress: Called with the number of files done and in all; None prints a line on a terminal.

    Returns:
        The images, their split and their labels.

    Raises:
        InputError: If files cannot be read, sizes differ or cannot be used, or there are too few images.
    """
    files = _arrange(_scan(root))
    stem = f"{safe_name(root)}-{_fingerprint(files, image_size)[:12]}"
    folders = (cache_dir, _temporary_cache())
    pixels, meta = (
        _open_cache(folders[0] / stem, len(files))
        or _open_cache(folders[1] / stem, len(files))
        or _fill_cache(root, files, folders, stem, image_size, progress or _print_progress)
    )
    bad = {i for i, _ in meta["bad"]}
    if bad and not skip_bad:
        raise _bad_files(root, files, meta["bad"])
    if bad:
        _warn(f"{str(root)!r}: {len(bad):,} of {len(files):,} files cannot be read and are skipped")
    if meta["animated"]:
        _warn(f"{str(root)!r}: {meta['animated']:,} files hold several frames; the first of each is taken")
    files = [file for i, file in enumerate(files) if i not in bad]
    labels, class_names = _labels(root, files)
    n_jpeg = sum(file.relative.lower().endswith((".jpg", ".jpeg")) for file in files)
    return FolderImages(pixels, _slices(root, files), labels, class_names, meta["sha256"], len(bad), n_jpeg)


def _scan(root: Path) -> list[_File]:
    """List the image files below a folder by path, each with its part of the split and its class."""
    prefix = os.path.join(root, "")
    found, links, stack = [], [], [prefix]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise InputError(f"{str(root)!r}: cannot be listed: {error}") from error
        for entry in visible:
            if entry.is_symlink():
                links.append(entry.path)
            elif entry.is_dir():
                stack.append(entry.path)
            elif entry.is_file() and os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
                status = entry.stat()
                relative = entry.path[len(prefix) :].replace(os.sep, "/")
                found.append(_File(relative, status.st_size, status.st_mtime_ns))
    if links:
        _warn(f"{str(root)!r}: {len(links):,} symbolic links, such as {min(links)!r}, are not followed")
    if not found:
        known = " ".join(sorted(extension[1:] for extension in EXTENSIONS))
        beside = f" beside {len(links):,} symbolic links" if links else ""
        raise InputError(
            f"{str(root)!r}: no images found{beside}; give a folder with files of the types {known}"
        )
    return _place(root, sorted(found, key=lambda file: file.relative))


def _place(root: Path, files: list[_File]) -> list[_File]:
    """Read part and class off the paths.

    A folder `train` means a split only where it has `test` or `val` beside it, or nothing at all: otherwise
    it is a class like the others.
    """
    split = [file.relative.split("/") for file in files]
    tops = {names[0] for names in split if len(names) > 1}
    has_parts = "train" in tops and (tops == {"train"} or not tops.isdisjoint(_PARTS[1:]))
    placed = []
    for file, (*names, _) in zip(files, split, strict=True):
        part = "train"
        if has_parts:
            part, *names = names or [""]
        if part in _PARTS:
            placed.append(replace(file, part=part, label=names[0] if names else None))
    if len(placed) < len(files):
        _warn(
            f"{str(root)!r}: {len(files) - len(placed):,} images outside of train, val and test are not used"
        )
    return placed


def _arrange(files: list[_File]) -> list[_File]:
    """Order the files: those of `val/`, the training images, those of `test/`, each in a fixed random order.

    Files are found class by class; shuffled, the first n images of a part are a fair sample of it.
    """
    parts = {part: [file for file in files if file.part == part] for part in _PARTS}
    return [parts[part][i] for part in ("val", "train", "test") for i in fixed_permutation(len(parts[part]))]


def _slices(root: Path, files: list[_File]) -> dict[str, slice]:
    """Cut the arranged files into the three parts; what is held out is the head of the training images."""
    n = Counter(file.part for file in files)
    n_val, n_test = split_counts(n["train"], val=not n["val"], test=not n["test"])
    start, end = n["val"], n["val"] + n["train"]
    slices = {
        "train": slice(start + n_test + n_val, end),
        "val": slice(start + n_test, start + n_test + n_val) if n_val else slice(0, start),
        "test": slice(start, start + n_test) if n_test else slice(end, len(files)),
    }
    if slices["train"].start >= end:
        raise InputError(
            f"{str(root)!r}: {len(files)} images, {n['train']} of them to train; give at least {MIN_IMAGES}, "
            "one each to train, validate and test"
        )
    return slices


def _labels(root: Path, files: list[_File]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    labels = [file.label for file in files]
    if None in labels:
        if any(labels):
            _warn(f"{str(root)!r}: some images lie in no class folder, so that the whole set has no labels")
        return None, ()
    names, indices = np.unique(np.array(labels, object), return_inverse=True)
    return indices.astype(np.int64), tuple(names)


def _fingerprint(files: list[_File], image_size: Size | None) -> str:
    digest = hashlib.sha256(repr((_CACHE_VERSION, image_size)).encode())
    for file in files:
        digest.update(os.fsencode(f"{file.relative}\0{file.size}\0{file.mtime_ns}\0"))
    return digest.hexdigest()


def _temporary_cache() -> Path:
    """A folder of this user in the system's temporary folder, for where the data folder cannot be written."""
    user = getattr(os, "getuid", int)()
    folder = Path(tempfile.gettempdir()) / f"vae_lib-cache-{user}"
    with suppress(OSError):
        folder.mkdir(mode=0o700)
    foreign = folder.exists() and folder.stat().st_uid != user
    return Path(tempfile.mkdtemp(prefix="vae_lib-cache-")) if foreign else folder


def _open_cache(stem: Path, n_files: int) -> tuple[np.ndarray, dict] | None:
    """Map the array of an earlier call, or give None where it is absent or not whole."""
    try:
        meta = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        pixels = np.load(stem.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        return (pixels, meta) if len(pixels) == n_files - len(meta["bad"]) else None
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def _fill_cache(
    root: Path,
    files: list[_File],
    folders: Sequence[Path],
    stem: str,
    image_size: Size | None,
    progress: Progress,
) -> tuple[np.ndarray, dict]:
    """Decode all files into `<stem>.npy`; `<stem>.json`, written last, says that it is whole."""
    target = _first_writable(folders) / stem
    meta = {}

    def write(temporary: Path) -> None:
        with temporary.open("w+b") as file:
            meta.update(
                _decode_all(file, root, files, image_size, 1, progress)
                or _decode_all(file, root, files, image_size, 3, progress)
            )

    try:
        atomic_write(target.with_suffix(".npy"), write)
        write_json(target.with_suffix(".json"), meta)
        return np.load(target.with_suffix(".npy"), mmap_mode="r", allow_pickle=False), meta
    except OSError as error:
        raise InputError(
            f"{str(root)!r}: the decoded images cannot be kept: {error}; make room there"
        ) from error


def _first_writable(folders: Sequence[Path]) -> Path:
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    raise InputError(
        f"no cache folder can be written, tried {[str(folder) for folder in folders]}; make one writable"
    )


def _decode_all(
    file: BinaryIO,
    root: Path,
    files: list[_File],
    image_size: Size | None,
    n_channels: int,
    progress: Progress,
) -> dict | None:
    """Write all images as one .npy, in the order given; None where a colour image does not fit 1 channel.

    Only one batch of images is in memory at any time. Plain writes, unlike those to a memory map, give an
    error on a full disk and not a dead process.
    """
    bad, sizes, n_animated = [], Counter(), 0
    file.seek(_HEADER_BYTES)
    file.truncate()
    paths = [root / one.relative for one in files]
    with strict_pillow(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            for i, image in enumerate(pool.map(decode, batch, [image_size] * len(batch)), start):
                if isinstance(image, str):
                    bad.append((i, image))
                    continue
                sizes[image.size] += 1
                n_animated += image.animated
                if image.pixels is not None and len(sizes) == 1:
                    if image.pixels.shape[2] > n_channels:
                        return None
                    file.write(np.broadcast_to(image.pixels, (*image.size, n_channels)).tobytes())
            progress(start + len(batch), len(paths))
    if not sizes:
        raise _bad_files(root, files, bad, "no image is left")
    size = _one_size(root, sizes)
    file.seek(_HEADER_BYTES)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    file.write(_npy_header((sizes.total(), *size, n_channels)))
    return {"bad": bad, "animated": n_animated, "sha256": sha256}


def _one_size(root: Path, sizes: Counter) -> Size:
    """Give the one size that all images have and that the model takes, or say what was found."""
    usable = len(sizes) == 1 and all(MIN_SIDE <= side <= MAX_SIDE for side in next(iter(sizes)))
    if not usable:
        seen = [f"{height}x{width} ({n:,})" for (height, width), n in sizes.most_common(5)]
        more = f" and {len(sizes) - 5:,} more" if len(sizes) > 5 else ""
        raise InputError(
            f"{str(root)!r}: image sizes (height x width) {', '.join(seen)}{more}; "
            f"all must have one size with sides of {MIN_SIDE} to {MAX_SIDE} pixels: pass --image_size N"
        )
    return next(iter(sizes))


def _npy_header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _bad_files(root: Path, files: list[_File], bad: list, remedy: str = "") -> InputError:
    listed = ", ".join(f"{files[i].relative!r} ({reason})" for i, reason in bad[:10])
    more = f" and {len(bad) - 10:,} more" if len(bad) > 10 else ""
    return InputError(
        f"{str(root)!r}: {len(bad):,} of {len(files):,} files cannot be read: {listed}{more}; "
        + (remedy or "repair or remove them, or pass --skip_bad to leave them out")
    )


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=3)


def _print_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(
            f"\rdecoding images {done:,}/{total:,}", end="\n" * (done == total), file=sys.stderr, flush=True
        )
