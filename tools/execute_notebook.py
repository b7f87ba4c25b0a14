"""The committed notebook: its stamp, and the one command that executes it anew.

`python -m tools.execute_notebook` runs every cell with VAE_PRESET, writes the outputs into the committed file
and stamps it with the hash of the code they belong to.
"""

import hashlib
import os
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent
PATH = ROOT / "VAE_Image_Generation_Comparative_Study.ipynb"


def read() -> nbformat.NotebookNode:
    """Return the committed notebook."""
    return nbformat.read(PATH, as_version=4)


def code_sha256(notebook) -> str:
    """Return the hash of all code cells, in order."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def execute(preset: str) -> None:
    """Execute the committed notebook in place, without widget state, and stamp it."""
    from nbclient import NotebookClient

    os.environ |= {"VAE_PRESET": preset, "VAE_BATCH": "1"}  # no sliders, whose state would be kept
    notebook = read()
    NotebookClient(notebook, timeout=24 * 3600, resources={"metadata": {"path": str(ROOT)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
    notebook.metadata.pop("widgets", None)
    notebook.metadata["stamp"] = {"code_sha256": code_sha256(notebook), "preset": preset}
    nbformat.write(notebook, PATH)


if __name__ == "__main__":
    execute(os.environ.get("VAE_PRESET", "quick"))
