"""Execute the notebook so that its outputs change only where their content does.

`python -m tools.execute_notebook` executes the committed notebook in place and stamps it with the hash of the
code that its outputs belong to; `--out FOLDER` leaves it alone and writes an executed copy and its figures.
"""

import argparse
import copy
import hashlib
import json
import os
import re
import sys
import time
from itertools import zip_longest
from pathlib import Path
from subprocess import DEVNULL

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from vae_lib.config import STUDIES
from vae_lib.utils.files import write_text

ROOT = Path(__file__).parent.parent
PATH = ROOT / "VAE_Image_Generation_Comparative_Study.ipynb"

_STYLER_ID = re.compile(r"\bT_[0-9a-f]{5}(?![0-9a-f])")  # pandas gives every styled table a random one
_ADDRESS = re.compile(r" at 0x[0-9a-f]+(?=>)")  # of an object in memory, as in its default repr
_DURATION = re.compile(r"(?<![\d.])\d+(\.\d+)?(?= ?(ms|s|min)\b)")


def main(argv: list[str] | None = None) -> int:
    """Execute the notebook; return the exit code: 0, 1 if it fails, 130 if it is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.execute_notebook", description=__doc__.splitlines()[0]
    )
    preset = os.environ.get("VAE_PRESET", "quick")
    parser.add_argument("--preset", default=preset, help="smoke, quick or full (default: quick)")
    parser.add_argument("--out", type=Path, help="folder for an executed copy and its figures")
    options = parser.parse_args(argv)
    if options.preset not in STUDIES:
        parser.error(f"preset: received {options.preset!r}; give one of {', '.join(STUDIES)}")
    try:
        execute(PATH, options.preset, options.out)
    except (CellExecutionError, RuntimeError, OSError) as error:
        print(f"execute_notebook: error: {error}", file=sys.stderr)
        return 1
    except AssertionError:  # nbclient's, when Ctrl-C has stopped its kernel
        print("execute_notebook: interrupted; the notebook is as it was", file=sys.stderr)
        return 130
    return 0


def read(path: Path = PATH) -> nbformat.NotebookNode:
    """Return a notebook, by default the committed one."""
    return nbformat.read(path, as_version=4)


def code_sha256(notebook: nbformat.NotebookNode) -> str:
    """Return the hash of all code cells, in order."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def execute(path: Path, preset: str, out: Path | None = None) -> None:
    """Execute a notebook and print each section as it begins.

    Args:
        path: Notebook; it is executed in its folder.
        preset: Value of VAE_PRESET for its kernel.
        out: Folder for the executed copy and, in `images/`, its figures; without it the notebook is executed
            in place, and its file is written only if something changed.

    Raises:
        CellExecutionError: If a cell fails; nothing is written then.
    """
    notebook = read(path)
    before = {} if out else {cell.id: cell.get("outputs", []) for cell in copy.deepcopy(notebook.cells)}
    environment = {**os.environ, "VAE_PRESET": preset, "VAE_BATCH": "1"}  # without sliders
    if out:
        out.mkdir(parents=True, exist_ok=True)
        environment["VAE_IMAGES_DIR"] = str(out.resolve() / "images")
    start = time.monotonic()

    def announce(cell, cell_index):
        if cell.cell_type == "markdown" and (heading := re.match("##? (.+)", cell.source)):
            print(f"{time.monotonic() - start:5.0f} s  {heading[1]}", flush=True)

    NotebookClient(
        notebook,
        timeout=24 * 3600,
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=announce,
        coalesce_streams=True,  # how printed text is split is a matter of timing
        record_timing=False,
        store_widget_state=False,
    ).execute(env=environment, stderr=DEVNULL)  # warnings of the kernel itself; those of cells are outputs

    notebook.metadata["stamp"] = {"code_sha256": code_sha256(notebook), "preset": preset}
    notebook.metadata["language_info"].pop("version", None)
    notebook.metadata.pop("widgets", None)  # what an editor may have left
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        keep_unchanged(cell, before.get(cell.id, []))
    text, target = nbformat.writes(notebook) + "\n", out / path.name if out else path
    changed = not target.is_file() or target.read_text(encoding="utf-8") != text
    if changed:
        write_text(target, text)
    print(f"{time.monotonic() - start:5.0f} s  {'wrote' if changed else 'unchanged:'} {target}")


def keep_unchanged(cell: nbformat.NotebookNode, before: list) -> None:
    """Give styled tables a fixed id, drop addresses, and keep an earlier output if only durations differ."""
    outputs = cell.get("outputs", [])
    for number, output in enumerate(outputs):
        for kind, text in output.get("data", {}).items():
            if kind in ("text/html", "text/plain"):
                output.data[kind] = _ADDRESS.sub("", _STYLER_ID.sub(f"T_{cell.id}_{number}", text))
    pairs = zip_longest(outputs, before[: len(outputs)])
    outputs[:] = [old if _without_durations(old) == _without_durations(new) else new for new, old in pairs]


def _without_durations(output: dict | None) -> str:
    return _DURATION.sub("_", json.dumps(output, sort_keys=True))


if __name__ == "__main__":
    sys.exit(main())
