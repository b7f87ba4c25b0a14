"""Which part and class each image of a folder belongs to, read from the names of the folders above it."""

import re
from collections import defaultdict
from collections.abc import Sequence
from unicodedata import normalize

from vae_lib.utils.errors import InputError

_WORDS = {
    **dict.fromkeys(("train", "training", "trainset", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "testset", "tst"), "test"),
}
_BARE = {(part, "") for part in _WORDS.values()}  # as `_part_and_rest` returns a name with no other words
# Left by file servers and systems; such a folder holds no images of a class.
NO_CLASS = frozenset({"@eadir", "__macosx", "#recycle", "$recycle.bin", "lost+found", "thumbnails"})

Place = tuple[str, str | None]  # part and class


def read_layout(paths: Sequence[str], where: str) -> list[Place | None]:
    """Return the part and class of each image; None for an image beside the parts.

    A split is a folder for training and one for validation or testing, whose names differ by that word only
    (`train` and `test`, `Training` and `Validation`, `images_train` and `images_val`), at the top or one
    level below: `<part>/<class>`, `<class>/<part>`, `<wrapper>/<part>/<class>`. A single folder `train` is a
    part too. Otherwise all images are for training, and the folders at the top are the classes.

    Args:
        paths: Relative paths with "/".
        where: The folder, for messages.

    Raises:
        InputError: If folders have the names of parts, but do not form one split.
    """
    above = [path.split("/")[:-1] for path in paths]
    for depth in (0, 1):
        names = {folders[depth] for folders in above if len(folders) > depth}
        if depth and any(len(folders) == depth for folders in above):
            names.add("")  # images beside a single `train` here: it is a folder like others
        if split := _split(names, where):
            inside = [folders for folders in above if len(folders) > depth and folders[depth] in split]
            wrapped = depth == 1 and len({folders[0] for folders in inside}) == 1
            return [_place(folders, split, depth, wrapped) for folders in above]
    tops = {folders[0] for folders in above if folders}
    parts = sorted(name for name in tops if _part_and_rest(name) in _BARE and name.lower() != "train")
    if parts:
        raise InputError(
            f"{where}: {_listed(parts)} named like a part of a data set, without a folder 'train' beside it; "
            "name the folder of the training images 'train', or rename what is a class"
        )
    return [("train", _label(folders)) for folders in above]


def _part_and_rest(name: str) -> tuple[str, str] | None:
    """Return the part that a folder's name says, and the other words of the name; None if it says none."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    parts = [_WORDS[word] for word in words if word in _WORDS]
    rest = " ".join(word for word in words if word not in _WORDS)
    return (parts[0], rest) if len(parts) == 1 else None


def _split(names: set[str], where: str) -> dict[str, str]:
    """Return the part of each folder that belongs to the split; empty if there is none."""
    groups = defaultdict(dict)
    for name in names:
        if found := _part_and_rest(name):
            groups[found[1]][name] = found[0]
    splits = [group for group in groups.values() if "train" in group.values() and len({*group.values()}) > 1]
    if len(splits) > 1:
        raise InputError(
            f"{where}: {_listed(sorted(name for group in splits for name in group))} more than one split; "
            "give a folder that holds one of them"
        )
    if not splits and names == set(groups.get("", ())) and set(groups[""].values()) == {"train"}:
        return groups[""]
    return splits[0] if splits else {}


def _place(folders: list[str], split: dict[str, str], depth: int, wrapped: bool) -> Place | None:
    part = split.get(folders[depth]) if len(folders) > depth else None
    if part is None:
        return None
    others = folders[depth + 1 :] if wrapped else folders[:depth] + folders[depth + 1 :]
    while others and others[0] == folders[depth]:  # seg_train/seg_train/<class>
        others = others[1:]
    return part, _label(others)


def _label(folders: list[str]) -> str | None:
    """Return the class, with its accents composed, so that one name has one spelling."""
    return normalize("NFC", folders[0]) if folders else None


def _listed(names: list[str]) -> str:
    quoted = ", ".join(map(repr, names[:6])) + (" and more" if len(names) > 6 else "")
    return f"folder {quoted} is" if len(names) == 1 else f"folders {quoted} are"
