"""A folder of images as a data set: one memory-mapped array, decoded once.

Layout: `<root>/train/<class>/*` and `<root>/test/<class>/*`, with `val/` if there is one; or
`<root>/<class>/*`; or `<root>/*`. `folder_layout` knows other spellings and nestings. Parts that are missing
are held out of the training images.

- Files are chosen by extension (`EXTENSIONS`, any case), or by content if they have none, and recognised by
  content. Other files are counted by kind, with a warning if they are more than a tenth. Hidden files and
  folders are ignored. Symbolic links below the root are counted in a warning and not followed: they may leave
  the folder, form a cycle, or show one image twice, in train and in test.
- `image_file` says how a file becomes pixels. Of an animation the first frame is used, with a warning.
- The range of the pixels is looked at over all files together, of train and test. Among 8-bit files, those of
  16-bit grey have a range of their own.
- If all images are grey (by their mode) there is 1 channel, else 3.
- Without an image size, all images must have the same one.
- A file that cannot be read is an error, or is skipped and counted on request.

The cache is identified by the path, size and modification time of each file; hashing the contents would read
gigabytes at every start. If you change an image in place and restore both, delete the cache.
"""

import hashlib
import json
import os
import stat
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from vae_lib.config import MAX_SIDE, MIN_SIDE, fits_model
from vae_lib.data.dataset import MIN_IMAGES, PARTS, ImageDataset, fixed_permutation, split_counts
from vae_lib.data.folder_layout import NO_CLASS, read_layout
from vae_lib.data.image_file import WHITE_LEVELS, Size, decode, has_image, strict_pillow
from vae_lib.data.pixel_range import range_note, white_level
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import atomic_write, safe_name, write_json

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
    | {".pbm", ".pgm", ".ppm", ".pnm"}
)

_CACHE_VERSION = 3
_BATCH = 256  # the most decoded images held in memory
_HEADER_BYTES = 128  # of an .npy file, for any shape used here


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
    name: str,
    source: str,
    image_size: Size | None = None,
    skip_bad: bool = False,
) -> ImageDataset:
    """Load a folder of images, decoded now or by an earlier call.

    Args:
        root: The folder.
        cache_dir: Where the decoded array is kept, or else in the system's temporary folder.
        name: Of the data set.
        source: Beginning of the data set's `source`, which also says whether files are JPEG (lossy copies,
            whose bits per dim are not those of the originals), scaled, resized or skipped.
        image_size: (height, width) to crop and resize to; None keeps the images' size.
        skip_bad: Leave out the files that cannot be read, with a warning, instead of failing.

    Raises:
        InputError: If files cannot be read, sizes differ or cannot be used, or there are too few images.
    """
    files, passed_over = list_images(root)
    note = f", resized to {image_size[0]}x{image_size[1]}" if image_size else ""
    files = _arrange(_place(root, files))
    files, pixels, notes, meta = _read(root, files, image_size, cache_dir, skip_bad, note)
    labels, class_names = _labels(root, files)
    given = {file.part for file in files}
    held_out = [f"{part} held out of train" for part in PARTS if part not in given]
    reading = held_out + [f"files passed over: {passed_over}"] * bool(passed_over)
    fields = {"reading": "; ".join(reading)}
    for part, rows in _slices(root, files).items():
        fields[f"x_{part}"] = pixels[rows]
        fields[f"y_{part}"] = None if labels is None else labels[rows]
        fields[f"files_{part}"] = np.array([file.relative for file in files[rows]], dtype=str)
    fields |= {"class_names": class_names, "pixels_sha256": meta["sha256"]}
    return ImageDataset(name, source + notes, **fields)


def load_files(
    path: Path, cache_dir: Path, image_size: Size, skip_bad: bool = False
) -> tuple[np.ndarray, list[str], str, int]:
    """Load every image below a folder, whatever part of a data set it would belong to, or that of one file.

    Args:
        path: The folder, or the file.
        cache_dir: As of `load_folder`.
        image_size: (height, width) to crop and resize to.
        skip_bad: As of `load_folder`.

    Returns:
        Images uint8 (n, height, width, 1 or 3), in the order of their paths; these paths, relative; what is
        to be known of them, for `source`; and how many were resized.

    Raises:
        InputError: If files cannot be read, or there are none.
    """
    if path.is_dir():
        root, files = path, list_images(path)[0]
    else:
        root, status = path.parent, path.stat()
        files = [_File(path.name, status.st_size, status.st_mtime_ns)]
    files, pixels, notes, meta = _read(root, files, image_size, cache_dir, skip_bad)
    return pixels, [file.relative for file in files], notes, meta.get("resized", 0)


def _read(
    root: Path, files: list[_File], image_size: Size | None, cache_dir: Path, skip_bad: bool, note: str = ""
) -> tuple[list[_File], np.ndarray, str, dict]:
    """Return the files that can be read, their pixels, what is to be known of them, and what was counted."""
    pixels, meta = _load_pixels(root, files, image_size, cache_dir)
    bad = {i for i, _ in meta["bad"]}
    if bad and not skip_bad:
        raise _bad_files(
            root, files, meta["bad"], "repair or remove them, or pass --skip_bad to leave them out"
        )
    if bad:
        _warn(root, f"{len(bad):,} of {len(files):,} files cannot be read and are skipped")
    if meta["animated"]:
        _warn(root, f"{meta['animated']:,} files hold several frames; the first of each is used")
    files = [file for i, file in enumerate(files) if i not in bad]
    notes = ", JPEG files" if meta["jpeg"] else ""
    for _, n, high in meta["ranges"]:
        depth = range_note(high)
        mixed = f" in {n:,} of {len(files):,} files" if len(meta["ranges"]) > 1 else ""
        notes += depth + mixed if depth else ""
    notes += note
    notes += f", {len(bad):,} unreadable files skipped" if bad else ""
    return files, pixels, notes, meta


def list_images(root: Path) -> tuple[list[_File], str]:
    """List the image files below a folder in the order of their paths; also count what is passed over.

    Raises:
        InputError: If the folder cannot be listed, or there is no image file.
    """

    def fail(error: OSError) -> None:
        raise InputError(f"{str(root)!r}: cannot be listed: {error}") from error

    prefix, files, links, others = os.path.join(root, ""), [], [], Counter()
    for folder, folders, names in os.walk(prefix, onerror=fail):  # which follows no links
        folders[:] = [name for name in folders if name[0] != "." and name.lower() not in NO_CLASS]
        for path in (os.path.join(folder, name) for name in folders + names if not name.startswith(".")):
            status, extension = os.lstat(path), os.path.splitext(path)[1].lower()
            if stat.S_ISLNK(status.st_mode):
                links.append(path)
            elif not stat.S_ISREG(status.st_mode):
                continue
            elif extension in EXTENSIONS or (not extension and has_image(Path(path))):
                relative = path[len(prefix) :].replace(os.sep, "/")
                files.append(_File(relative, status.st_size, status.st_mtime_ns))
            else:
                others[extension or "without an ending"] += 1
    if links:
        _warn(root, f"{len(links):,} symbolic links, such as {min(links)!r}, are not followed")
    known = " ".join(sorted(extension[1:] for extension in EXTENSIONS))
    counted = ", ".join(f"{n:,} {kind}" for kind, n in others.most_common(5))
    if not files:
        beside = f" beside {len(links):,} symbolic links" if links else ""
        beside += f", but other files ({counted})" if others else ""
        raise InputError(
            f"{str(root)!r}: no images found{beside}; give a folder with files of the types {known}"
        )
    if others.total() > (len(files) + others.total()) / 10:
        n = len(files) + others.total()
        _warn(root, f"{others.total():,} of {n:,} files are passed over ({counted}); read are {known}")
    return sorted(files, key=lambda file: file.relative), counted


def _place(root: Path, files: list[_File]) -> list[_File]:
    """Note the part and class of each file; drop those that are in no part."""
    places = read_layout([file.relative for file in files], repr(str(root)))
    pairs = zip(files, places, strict=True)
    placed = [replace(file, part=place[0], label=place[1]) for file, place in pairs if place]
    if len(placed) < len(files):
        _warn(root, f"{len(files) - len(placed):,} images outside of train, val and test are not used")
    return placed


def _arrange(files: list[_File]) -> list[_File]:
    """Order the files: `val`, `train`, `test`, each shuffled in a fixed random order.

    They are found class by class; once they are shuffled, the first n images of a part are a fair sample.
    """
    parts = {part: [file for file in files if file.part == part] for part in PARTS}
    return [parts[part][i] for part in ("val", "train", "test") for i in fixed_permutation(len(parts[part]))]


def _slices(root: Path, files: list[_File]) -> dict[str, slice]:
    """Return the rows of each part; the images that are held out are the first of the training images."""
    n = Counter(file.part for file in files)
    n_val, n_test = split_counts(n["train"], val=not n["val"], test=not n["test"])
    start, end = n["val"], n["val"] + n["train"]
    if start + n_test + n_val >= end:
        raise InputError(
            f"{str(root)!r}: {len(files)} images, {n['train']} of them for training; give at least "
            f"{MIN_IMAGES}, one each for training, validation and test"
        )
    return {
        "train": slice(start + n_test + n_val, end),
        "val": slice(start + n_test, start + n_test + n_val) if n_val else slice(0, start),
        "test": slice(start, start + n_test) if n_test else slice(end, len(files)),
    }


def _labels(root: Path, files: list[_File]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    labels = [file.label for file in files]
    if None in labels:
        if any(labels):
            _warn(root, "some images are in no class folder, so the data set has no labels")
        return None, ()
    names = sorted(set(labels))
    if all(name.isdecimal() for name in names):
        names.sort(key=int)
    indices = {name: i for i, name in enumerate(names)}
    return np.array([indices[label] for label in labels], np.int64), tuple(names)


def _load_pixels(
    root: Path, files: list[_File], image_size: Size | None, cache_dir: Path
) -> tuple[np.ndarray, dict]:
    """Map the decoded images, of an earlier call if possible; also return what was noted about the files.

    `<stem>.npy` holds the images; `<stem>.json` is written after it and so says that it is complete.
    """
    digest = hashlib.sha256(repr((_CACHE_VERSION, image_size)).encode())
    for file in files:
        digest.update(os.fsencode(f"{file.relative}\0{file.size}\0{file.mtime_ns}\0"))
    stem = f"{safe_name(root)}-{digest.hexdigest()[:12]}"
    for folder_of in (lambda: cache_dir, _temporary_cache):
        folder = folder_of()
        cached = _open_cache(folder / stem, len(files))
        if cached and not _readable_now(root, files, cached[1], image_size):
            return cached
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            break
    else:
        raise InputError(f"no cache folder can be written: {cache_dir} or {folder}; make one writable")
    npy, meta = folder / f"{stem}.npy", {}

    def write(temporary: Path) -> None:
        with temporary.open("w+b") as file:
            arguments = (file, root, files, image_size)
            found = _decode_all(*arguments, n_channels=1) or _decode_all(*arguments, n_channels=3)
            levels = {bits: white_level(high) for bits, _, high in found["ranges"]}
            if not levels.items() <= WHITE_LEVELS.items():  # which only now is known
                found = _decode_all(*arguments, found["n_channels"], levels)
            meta.update(found)

    try:
        atomic_write(npy, write)
        write_json(npy.with_suffix(".json"), meta)
        return np.load(npy, mmap_mode="r"), meta
    except OSError as error:
        raise InputError(
            f"{str(root)!r}: the decoded images cannot be kept: {error}; free some space there"
        ) from error


def _open_cache(stem: Path, n_files: int) -> tuple[np.ndarray, dict] | None:
    """Map the array of an earlier call; None if it is absent or damaged."""
    try:
        meta = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        pixels = np.load(stem.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        return (pixels, meta) if len(pixels) == n_files - len(meta["bad"]) else None
    except Exception:  # a damaged file raises many types
        return None


def _readable_now(root: Path, files: list[_File], meta: dict, image_size: Size | None) -> bool:
    """Return whether a file that could not be read can be now, as after a change of its permissions."""
    with strict_pillow():
        again = (decode(root / files[i].relative, image_size, WHITE_LEVELS) for i, _ in meta["bad"])
        return any(not isinstance(image, str) for image in again)


def _temporary_cache() -> Path:
    """Return this user's folder in the system's temporary folder, for a data folder that is read-only."""
    user = getattr(os, "getuid", int)()
    folder = Path(tempfile.gettempdir()) / f"vae_lib-cache-{user}"
    with suppress(OSError):
        folder.mkdir(mode=0o700)
    foreign = folder.exists() and folder.stat().st_uid != user
    return Path(tempfile.mkdtemp(prefix="vae_lib-cache-")) if foreign else folder


def _decode_all(
    file: BinaryIO,
    root: Path,
    files: list[_File],
    image_size: Size | None,
    n_channels: int,
    white_levels: Mapping[int, int] = WHITE_LEVELS,
) -> dict | None:
    """Write all images as one .npy, in the order given; None if a colour image does not fit 1 channel.

    Only one batch of images is in memory at a time. On a full disk, plain writes raise an error; writes to a
    memory map would kill the process.
    """
    bad, sizes, n_animated, n_jpeg, n_resized, digest = [], Counter(), 0, 0, 0, hashlib.sha256()
    depths, highs = Counter(), Counter()  # the number of files, and their largest value, by bits
    file.seek(_HEADER_BYTES)
    file.truncate()
    paths = [root / one.relative for one in files]
    with (
        strict_pillow(),
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        tqdm(desc="decoding images", total=len(paths), disable=None) as progress,  # only on a terminal
    ):
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            settings = repeat(image_size), repeat(white_levels)
            for i, image in enumerate(pool.map(decode, batch, *settings), start):
                progress.update()
                if isinstance(image, str):
                    bad.append((i, image))
                    continue
                sizes[image.size] += 1
                n_animated += image.animated
                n_jpeg += image.jpeg
                n_resized += image.resized
                depths[image.bits] += 1
                highs[image.bits] = max(highs[image.bits], image.high)
                if image.pixels is not None and len(sizes) == 1:
                    if image.pixels.shape[2] > n_channels:
                        return None
                    pixels = np.broadcast_to(image.pixels, (*image.size, n_channels)).tobytes()
                    digest.update(pixels)
                    file.write(pixels)
    if not sizes:
        raise _bad_files(root, files, bad, "no image is left")
    if len(sizes) > 1 or not fits_model(*next(iter(sizes))):
        seen = [f"{height}x{width} ({n:,})" for (height, width), n in sizes.most_common(5)]
        more = f" and {len(sizes) - 5:,} more" if len(sizes) > 5 else ""
        raise InputError(
            f"{str(root)!r}: image sizes (height x width) {', '.join(seen)}{more}; "
            f"all must have one size with sides of {MIN_SIDE} to {MAX_SIDE} pixels: pass --image_size N"
        )
    shape = (sizes.total(), *next(iter(sizes)), n_channels)
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    ranges = [(bits, depths[bits], highs[bits]) for bits in sorted(depths)]
    counts = {"animated": n_animated, "jpeg": n_jpeg, "resized": n_resized}
    facts = {"n_channels": n_channels, "ranges": ranges, "sha256": digest.hexdigest()}
    return {"bad": bad, **counts, **facts}


def _bad_files(root: Path, files: list[_File], bad: list, remedy: str) -> InputError:
    listed = [f"{files[i].relative!r} ({reason})" for i, reason in bad[:10]]
    more = f" and {len(bad) - 10:,} more" if len(bad) > 10 else ""
    count = f"{len(bad):,} of {len(files):,} files"
    return InputError(f"{str(root)!r}: {count} cannot be read: {', '.join(listed)}{more}; {remedy}")


def _warn(root: Path, message: str) -> None:
    warnings.warn(f"{str(root)!r}: {message}", stacklevel=3)
