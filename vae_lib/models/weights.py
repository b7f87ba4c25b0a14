"""Loading weights from a `.keras` file, of which no code is ever run."""

import json
import zipfile
from pathlib import Path

from vae_lib.utils.errors import InputError
from vae_lib.utils.files import sha256_of


def load_weights(model, path: Path, sha256: str | None = None) -> None:
    """Load weights into a Keras model from a `.keras` file of its class; no code in the file is ever run.

    Args:
        model: Whose variables are set.
        path: The file.
        sha256: Of the file; None takes any.

    Raises:
        InputError: One message each for a file that is missing, empty, not a Keras archive, of other
            weights than this model's, or of another hash.
    """
    remedy = "train with --fresh to make it again"
    if not path.is_file():
        raise InputError(f"{path} is missing: {remedy}")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: {remedy}")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is truncated or no .keras file: {remedy}")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged:
                raise ValueError(f"{damaged} fails its checksum")
            described = json.loads(archive.read("config.json"))
        found = described.get("class_name") if isinstance(described, dict) else described
        if found != type(model).__name__:
            raise ValueError(f"it is of class {found!r}, not {type(model).__name__}")
        if sha256 is not None and sha256_of(path) != sha256:
            raise ValueError("its SHA-256 is not the one in record.json")
        model.load_weights(path)
    except Exception as error:  # a damaged archive raises many types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} does not hold this model's weights ({reason}): {remedy}") from None
