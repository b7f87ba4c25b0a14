import re

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.execute_notebook import PATH, code_sha256, execute, keep_unchanged, main, read

STYLED = "import pandas as pd\ndisplay(pd.DataFrame({'a': [1, 2]}).style.format(precision=1))"
PRINTED = """
import sys, time
for name in "ab":
    print(name, flush=True)
    time.sleep(0.3)  # long enough for two messages
print(f"{time.perf_counter_ns() % 1000} s, or {time.perf_counter_ns() % 997}ms/step")
"""


def notebook_at(path, *cells):
    notebook = new_notebook(cells=list(cells))
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    nbformat.write(notebook, path)
    return path


@pytest.mark.slow
def test_executing_again_leaves_the_file_alone_though_ids_and_durations_are_random(tmp_path, capfd):
    cells = new_markdown_cell("# Title\n\ntext"), new_code_cell(PRINTED), new_code_cell(f"{STYLED}\n{STYLED}")
    cells[1].metadata["execution"] = {"iopub.execute_input": "2026-01-01T12:00:00Z"}
    path = notebook_at(tmp_path / "tiny.ipynb", *cells)
    execute(path, "smoke")
    written, modified = path.read_bytes(), path.stat().st_mtime_ns
    notebook = read(path)
    assert [cell.id for cell in notebook.cells] == ["cell-0", "cell-1", "cell-2"]
    (stream,) = notebook.cells[1].outputs
    assert re.fullmatch(r"a\nb\n\d+ s, or \d+ms/step\n", stream.text)
    first, second = (output.data["text/html"] for output in notebook.cells[2].outputs)
    assert '<table id="T_cell-2_0">' in first and '<table id="T_cell-2_1">' in second
    assert notebook.metadata["stamp"] == {"code_sha256": code_sha256(notebook), "preset": "smoke"}
    assert "execution" not in notebook.cells[1].metadata and "widgets" not in notebook.metadata
    execute(path, "smoke")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (written, modified)
    captured = capfd.readouterr()
    assert not captured.err
    assert re.search(r" s  Title\n.* s  wrote .*tiny.ipynb\n.* s  Title\n.* s  unchanged: ", captured.out)


@pytest.mark.slow
def test_a_copy_leaves_the_notebook_alone_and_gets_the_preset_and_a_folder_for_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("VAE_PRESET", "full")
    names = "VAE_PRESET", "VAE_BATCH", "VAE_IMAGES_DIR"
    path = notebook_at(
        tmp_path / "tiny.ipynb", new_code_cell(f"import os; print(*map(os.environ.get, {names}))")
    )
    before = path.read_bytes()
    execute(path, "smoke", tmp_path / "new" / "out")
    assert path.read_bytes() == before
    (output,) = read(tmp_path / "new" / "out" / "tiny.ipynb").cells[0].outputs
    assert output.text == f"smoke 1 {tmp_path / 'new' / 'out' / 'images'}\n"


@pytest.mark.slow
def test_a_failing_cell_is_reported_and_nothing_is_written(tmp_path):
    path = notebook_at(tmp_path / "tiny.ipynb", new_code_cell("print(1)"), new_code_cell("1 / 0"))
    before = path.read_bytes()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(path, "smoke")
    assert path.read_bytes() == before


def kept(before, after):
    """Return the text of a cell's outputs after an execution, given the texts of the one before."""
    cell = new_code_cell(outputs=[new_output("stream", text=text) for text in after])
    keep_unchanged(cell, [new_output("stream", text=text) for text in before])
    return [output.text for output in cell.outputs]


STEP = "313/313 - {}s - {}ms/step - loss: {}\n"
CHANGES = [
    ([STEP.format(19, 49, "2.5")], [STEP.format(7, 3, "2.5")], 1),
    ([STEP.format(19, 49, "2.5")], [STEP.format(19, 49, "2.6")], 0),
    (["run: 52 s on 2 threads"], ["run: 8.5 s on 2 threads"], 1),
    (["run: 52 s on 2 threads"], ["run: 52 s on 1 threads"], 0),
    (["took 2 min"], ["took 12 min"], 1),
    (["3 seeds, 5 epochs"], ["4 seeds, 5 epochs"], 0),
    (["5 s", "x"], ["6 s"], 1),
    (["5 s"], ["6 s", "x"], 1),
    ([], ["6 s"], 0),
]


@pytest.mark.parametrize(("before", "after", "unchanged"), CHANGES)
def test_an_output_is_kept_where_only_durations_differ(before, after, unchanged):
    assert kept(before, after) == before[:unchanged] + after[unchanged:]


def test_a_wrong_preset_is_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.setenv("VAE_PRESET", "fast")
    before = PATH.stat().st_mtime_ns
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert capsys.readouterr().err.endswith("preset: received 'fast'; give one of smoke, quick, full\n")
    assert PATH.stat().st_mtime_ns == before
