import ast
import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest

from tests import notebook as committed
from tests.bare_machine import ABSENT

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def notebook():
    return committed.read()


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def test_every_cell_was_executed_once_in_order(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_no_output_is_an_error_or_a_warning(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr", cell.source


def test_the_outputs_belong_to_the_code(notebook):
    assert notebook.metadata["stamp"]["code_sha256"] == committed.code_sha256(notebook), "run: make notebook"


def test_there_is_no_widget_state_and_no_path_of_a_machine(notebook):
    text = committed.PATH.read_text(encoding="utf-8")
    assert "widgets" not in notebook.metadata
    assert not re.search(r"/(home|root|tmp|Users)/|[A-Z]:\\\\Users", text)


def test_the_file_is_small_enough_to_open_in_a_browser():
    assert committed.PATH.stat().st_size <= 5 * MEGABYTE


def test_there_is_one_parameters_cell(notebook):
    assert len(tagged(notebook, "parameters")) == 1


def test_cells_can_be_read_at_a_glance(notebook):
    for cell in code_cells(notebook):
        assert cell.source.count("\n") < 25, cell.source


def test_every_exercise_is_complete(notebook):
    stubs, checks, solutions = (tagged(notebook, tag) for tag in ("exercise", "check", "solution"))
    assert len(stubs) == len(checks) == len(solutions) == 3
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for part in ("**Goal.**", "**Predict first.**", "<summary>Hint</summary>", "<summary>Solution</summary>"):
        assert text.count(part) == 3, part
    for check in checks:
        assert "not attempted" in "".join(output.get("text", "") for output in check.outputs)


def solution_of(cell):
    return re.search(r"```python\n(.*?)```", cell.source, re.DOTALL).group(1)


def test_every_solution_defines_what_its_stub_defines(notebook):
    for stub, solution in zip(tagged(notebook, "exercise"), tagged(notebook, "solution"), strict=True):
        names = [
            {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
            for source in (stub.source, solution_of(solution))
        ]
        assert names[0] == names[1]


def world():
    """Return what the exercises' cells find defined above them, on data small enough for a test."""
    from types import SimpleNamespace

    from vae_lib.data import load_dataset

    data = load_dataset("digits")
    flat = data.x_train.reshape(len(data.x_train), -1) / 255.0
    mean, axes = flat.mean(0), np.linalg.svd(flat[:500] - flat[:500].mean(0), full_matrices=False)[2][:8]

    def encode(x):  # PCA serves as the model: exercises must not depend on how well a VAE was trained
        z_mean = (x.reshape(len(x), -1) / 255.0 - mean) @ axes.T
        return z_mean, np.zeros_like(z_mean)

    def decode(z):
        return np.clip(255 * (z @ axes + mean), 0, 255).astype("uint8").reshape(-1, 8, 8, 1)

    model = SimpleNamespace(
        encode=encode,
        decode=decode,
        elbo_terms=lambda x: {"distortion": np.linspace(200, 300, len(x)), "rate": np.linspace(5, 9, len(x))},
    )
    sizes = pd.DataFrame(
        {
            "dataset": "digits",
            "latent_dim": [8, 2, 8, 2],
            "seed": [0, 0, 1, 1],
            "test_distortion": [200.0, 240.0, 202.0, 238.0],
            "test_rate": [20.0, 5.0, 21.0, 6.0],
        }
    )
    return dict(
        np=np, pd=pd, DATASETS=("digits",), DATA={"digits": data}, MODELS={"digits": model}, SIZES=sizes
    )


def run_exercise(notebook, number, answer=None):
    """Run an exercise's stub with an answer in its place, then its check; return what the check prints."""
    scope = world()
    printed = []
    scope["print"] = lambda *values: printed.append(" ".join(map(str, values)))
    exec(tagged(notebook, "exercise")[number].source, scope)
    exec(answer or "", scope)
    exec(tagged(notebook, "check")[number].source, scope)
    return "\n".join(printed)


@pytest.mark.parametrize("number", range(3))
def test_an_exercise_left_alone_is_not_attempted_and_its_solution_passes(notebook, number):
    assert run_exercise(notebook, number) == "not attempted"
    assert run_exercise(notebook, number, solution_of(tagged(notebook, "solution")[number])).startswith(
        "passed"
    )


WRONG = [
    (0, "def generate(label, n, seed=0): return data.x_train[:n]", "another seed"),
    (0, "def generate(label, n, seed=0): return data.x_train[:3]", "expected 50 images"),
    (
        0,
        "def generate(label, n, seed=0):\n"
        "    z = np.random.default_rng(seed).standard_normal((n, codes.shape[1]))\n"
        "    return model.decode(codes[labels == 5].mean(axis=0) + 0.1 * z)",
        "look like class 1",
    ),
    (1, "def net_gain(frame, dataset): return [40.0]", "was the rate counted"),
    (1, "def net_gain(frame, dataset): return [12.5, 12.5]", "2 sizes, 1 steps"),
    (2, "def beta_loss(d, r, b): return np.mean(b * d + r)\ndef true_beta(shape): return 784", "beta weighs"),
    (2, "def beta_loss(d, r, b): return d + b * r\ndef true_beta(shape): return 784", "one number"),
    (
        2,
        "def beta_loss(d, r, b): return np.mean(d + b * r)\ndef true_beta(s): return s[0] * s[1]",
        "channels",
    ),
    (2, "def beta_loss(d, r, b): return np.mean(d + b * r)\ndef true_beta(s): return 1", "784"),
]


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_every_check_rejects_a_wrong_answer_and_says_why(notebook, number, answer, message):
    with pytest.raises(AssertionError, match=message):
        run_exercise(notebook, number, answer)


def executed(copy, command, tmp_path):
    """Execute a copy of the notebook, offline, without data sets, widgets or a home; return its tables."""
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "sitecustomize.py").write_text(ABSENT)
    environment = {
        **os.environ,
        "VAE_PRESET": "smoke",
        "VAE_EMBEDDED_ONLY": "1",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HOME": "/proc/no-such-home",
        "PYTHONPATH": str(tmp_path / "site"),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [output for cell in code_cells(nbformat.read(copy, as_version=4)) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert "stand-in for cifar10" in json.dumps(outputs)
    tables = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    return [re.sub("T_[0-9a-f]{5}", "", "".join(table)) for table in tables]


KERNEL_IN_ANOTHER_FOLDER = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=600, resources={"metadata": {"path": sys.argv[2]}}).execute()
nbformat.write(notebook, sys.argv[1])
"""


@pytest.mark.slow
def test_the_smoke_preset_runs_offline_and_again_from_another_folder_with_the_same_tables_and_figures(
    tmp_path,
):
    project = tmp_path / "my study"
    shutil.copytree(committed.ROOT / "vae_lib", project / "vae_lib")
    copy = project / committed.PATH.name
    shutil.copy(committed.PATH, copy)
    nbconvert = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", str(copy)]
    tables = executed(copy, nbconvert, tmp_path)
    figures = {path.name: path.read_bytes() for path in (project / "images").iterdir()}
    assert {name.rpartition(".")[2] for name in figures} == {"png", "svg"} and tables
    trained = {path: path.stat().st_mtime_ns for path in (project / "models").glob("*/model.keras")}
    command = [sys.executable, "-c", KERNEL_IN_ANOTHER_FOLDER, str(copy), str(project / "images")]
    assert executed(copy, command, tmp_path) == tables
    assert figures == {path.name: path.read_bytes() for path in (project / "images").iterdir()}
    assert trained == {path: path.stat().st_mtime_ns for path in (project / "models").glob("*/model.keras")}
    assert trained and {path.name for path in tmp_path.iterdir()} == {"my study", "site"}
