"""Packages that only some features need: what to install where one is missing."""

import importlib.util

from vae_lib.utils.errors import InputError


def need_extra(extra: str, packages: tuple[str, ...], feature: str) -> None:
    """Raise InputError if a package of an extra of vae_lib is missing.

    Args:
        extra: Its name in pyproject.toml.
        packages: Which of its packages are needed.
        feature: What needs them, for the message.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(f"{feature} needs {', '.join(missing)}: pip install 'vae-lib[{extra}]'")
