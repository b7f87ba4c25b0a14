"""Packages that only some users need: those of an extra of this project."""

import importlib.util

from vae_lib.utils.errors import InputError


def require(what: str, extra: str, *packages: str) -> None:
    """Refuse what needs a package that is not installed.

    Args:
        what: The user asked for, such as "format onnx".
        extra: The extra of this project that installs the packages.
        packages: Names under which they are imported.

    Raises:
        InputError: If one is missing, naming the extra.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        remedy = f"pip install -e '.[{extra}]' in the project's folder"
        raise InputError(f"{what} needs {', '.join(missing)}: {remedy}")
