import ast
import builtins
import json
import os
import re
import shutil
import subprocess
import symtable
import sys
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import vae_lib as vl
from tests.support.bare_machine import ABSENT
from tools import execute_notebook as committed

MEGABYTE = 2**20
STEPS = 9  # of the three exercises, that are solved by code


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


def test_the_front_door_is_enough(notebook):
    lines = [line for cell in code_cells(notebook) for line in cell.source.splitlines()]
    imports = [line for line in lines if re.match(r"\s*(import|from)\s", line)]
    assert len(imports) <= 10 and [line for line in imports if "vae_lib" in line] == ["import vae_lib as vl"]


def test_the_page_about_the_vae_shows_its_train_step_and_trains_by_fit(notebook):
    titles = [i for i, cell in enumerate(notebook.cells) if cell.source.startswith("## ")]
    start = next(i for i in titles if "on one page" in notebook.cells[i].source)
    page = notebook.cells[start : next(i for i in titles if i > start)]
    shown = "".join(output.get("text", "") for cell in page for output in cell.get("outputs", []))
    assert "def train_step(self, data)" in shown and "tf.GradientTape()" in shown
    assert any(".compile(" in cell.source and ".fit(" in cell.source for cell in page)


def test_every_exercise_is_complete(notebook):
    tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
    steps = [tag for tag in tags if tag in ("exercise", "check", "solution")]
    assert steps == STEPS * ["exercise", "check", "solution"]
    texts = [cell.source for cell in notebook.cells if cell.source.startswith("### Exercise")]
    assert len(texts) == 3
    for text in texts:
        for part in ("**Goal.**", "**Predict first.**", "<summary>Hint</summary>"):
            assert text.count(part) == 1, part
        assert 4 <= len(re.findall(r"^\d\. ", text, re.MULTILINE)) <= 6
    for check in tagged(notebook, "check"):
        assert "not attempted" in "".join(output.get("text", "") for output in check.outputs)


def sections(notebook):
    """Return title -> code of Setup and of each section after it."""
    found, title = {}, ""
    for cell in notebook.cells:
        title = cell.source.splitlines()[0] if cell.source.startswith("## ") else title
        if cell.cell_type == "code":
            found.setdefault(title, []).append(cell.source)
    return {title: "\n\n".join(cells) for title, cells in found.items()}


def defined_and_used(code):
    """Return the names that a piece of code defines at its top level, and those that it takes from there."""
    top = symtable.symtable(code, "<section>", "exec")
    tables, used = [top], set()
    for table in tables:
        tables += table.get_children()
        used |= {name.get_name() for name in table.get_symbols() if name.is_global() or table is top}
    return {name.get_name() for name in top.get_symbols() if name.is_assigned() or name.is_imported()}, used


def test_each_section_uses_what_it_or_setup_defines(notebook):
    codes = sections(notebook)
    known, _ = defined_and_used(codes.pop("## 1 Setup"))
    assert len(codes) >= 12
    for title, code in codes.items():
        defined, used = defined_and_used(code)
        assert not used - defined - known - set(dir(builtins)), title


@pytest.mark.slow
def test_each_section_runs_right_after_setup(notebook, tmp_path, monkeypatch):
    for results in ("study", "showcase/sprites-beta"):
        shutil.copytree(committed.ROOT / "models" / results, tmp_path / "models" / results)
    shutil.copytree(committed.ROOT / "vae_lib", tmp_path / "vae_lib")
    monkeypatch.chdir(tmp_path)
    for name, value in {"PRESET": "smoke", "EMBEDDED_ONLY": "1", "BATCH": "1"}.items():
        monkeypatch.setenv(f"VAE_{name}", value)
    codes, setup = sections(notebook), {}
    exec(codes.pop("## 1 Setup"), setup)
    for code in reversed(codes.values()):  # so that none finds what one before it has left in a cache
        exec(code, dict(setup))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("beside", "preset", "sentence"),
    [
        ((), "quick", "Stopped: the folder vae_lib is not beside this notebook"),
        (("vae_lib",), "Quick", "Stopped: VAE_PRESET is 'Quick': choose smoke, quick or full."),
    ],
)
def test_what_the_notebook_lacks_is_said_in_one_sentence(notebook, beside, preset, sentence, tmp_path):
    for folder in beside:
        shutil.copytree(committed.ROOT / folder, tmp_path / folder)
    first = nbformat.v4.new_notebook(cells=code_cells(notebook)[:6], metadata=notebook.metadata)
    with pytest.raises(CellExecutionError):
        NotebookClient(first, resources={"metadata": {"path": str(tmp_path)}}).execute(
            env={**os.environ, "VAE_PRESET": preset}
        )
    errors = [output for cell in first.cells for output in cell.outputs if output.output_type == "error"]
    ((shown,),) = (error.traceback for error in errors)
    assert shown.startswith(sentence) and "\n" not in shown


def solution_of(cell):
    return re.search(r"```python\n(.*?)```", cell.source, re.DOTALL).group(1)


def test_every_solution_defines_what_its_stub_defines(notebook):
    for cell in tagged(notebook, "solution"):
        assert "<summary>Solution</summary>" in cell.source
    for stub, solution in zip(tagged(notebook, "exercise"), tagged(notebook, "solution"), strict=True):
        names = [
            {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
            for source in (stub.source, solution_of(solution))
        ]
        assert names[0] == names[1]


@pytest.fixture(scope="module")
def world():
    """Return what the exercises' cells find defined above them, on data small enough for a test."""
    from sklearn.neighbors import KNeighborsClassifier

    data = vl.load_dataset("digits")
    flat = data.x_train.reshape(len(data.x_train), -1) / 255.0
    mean, axes = flat.mean(0), np.linalg.svd(flat[:500] - flat[:500].mean(0), full_matrices=False)[2][:8]

    def encode(x):  # PCA serves as the model: exercises must not depend on how well a VAE was trained
        z_mean = (x.reshape(len(x), -1) / 255.0 - mean) @ axes.T
        return z_mean, np.zeros_like(z_mean)

    def decode(z):
        return np.clip(255 * (z @ axes + mean), 0, 255).astype("uint8").reshape(-1, 8, 8, 1)

    terms = {"distortion": np.linspace(200, 300, 200), "rate": np.linspace(5, 9, 200)}
    model = SimpleNamespace(encode=encode, decode=decode, elbo_terms=lambda x: {"elbo": None, **terms})
    neighbours = KNeighborsClassifier(10).fit(flat, data.y_train)
    judge = SimpleNamespace(predict=lambda x: neighbours.predict(x.reshape(len(x), -1) / 255.0))
    sample = lambda n, label, seed: data.x_train[data.y_train == label][:n]  # noqa: E731
    factors = np.random.default_rng(0).integers(0, 4, (400, 2))
    sprite_codes = np.column_stack([factors[:, 0], factors.sum(1), np.zeros(400)]) + 0.0
    information, entropy = vl.metrics.mutual_information(sprite_codes, factors)
    return {
        **dict(np=np, pd=pd, vl=vl),
        **dict(
            DATASETS=("digits",),
            DATA={"digits": data},
            LABEL={"digits": "digits"},
            FASHION=data,
            fashion_vae=model,
            judge=judge,
        ),
        **dict(
            fashion_codes=encode(data.x_train)[0],
            fashion_labels=data.y_train,
            conditional=SimpleNamespace(sample=sample),
        ),
        **dict(SIZES=sizes(), SPRITES=SimpleNamespace(factors_test=factors), sprite_codes=sprite_codes),
        **dict(information=information, entropy=entropy),
    }


def sizes():
    """Return three sizes and seeds: on one data set the last step pays, on the other it is lost in noise."""
    rows = [
        {
            **{"dataset": name, "latent_dim": size, "seed": seed},
            **{"distortion_test": distortion + noise * (seed - 1), "rate_test": rate},
            "elbo_test": -(distortion + noise * (seed - 1) + rate),
        }
        for name, last in (("fashion_mnist", 195.0), ("cifar10", 150.0))
        for size, distortion, rate, noise in (
            (8, 200.0, 20.0, 1.0),
            (2, 240.0, 5.0, 1.0),
            (32, last, 24.0, 3.0),
        )
        for seed in range(3)
    ]
    return pd.DataFrame(rows)


def run_exercise(notebook, world, number, answer=None):
    """Run an exercise's stub with an answer in its place, then its check; return what the check prints."""
    printed = []
    scope = {**world, "print": lambda *values: printed.append(" ".join(map(str, values)))}
    for stub in tagged(notebook, "exercise"):  # a check may look at the answers of other steps
        exec(stub.source, scope)
    exec(answer or "", scope)
    exec(tagged(notebook, "check")[number].source, scope)
    return "\n".join(printed)


@pytest.mark.parametrize("number", range(STEPS))
def test_an_exercise_left_alone_is_not_attempted_and_its_solution_passes(notebook, world, number):
    assert run_exercise(notebook, world, number) == "not attempted"
    solution = solution_of(tagged(notebook, "solution")[number])
    assert run_exercise(notebook, world, number, solution).startswith("passed")


def test_the_conditional_model_is_scored_beside_the_readers_own(notebook, world):
    solutions = [solution_of(cell) for cell in tagged(notebook, "solution")[1:3]]
    printed = run_exercise(notebook, world, 2, "\n".join(solutions))
    assert re.fullmatch(r"passed: conditional model \d+%, your `generate` \d+%, chance 10%", printed)


ARITHMETIC, GENERATE, ACCURACY, GAIN, ENOUGH, ACTIVE, LOSS, TRUE_BETA, GAP = range(STEPS)
WRONG = [
    (ARITHMETIC, "def direction(c, y, a, b): return c[y == b][:5] - c[y == a][:5]", "one step of 8"),
    (ARITHMETIC, "def direction(c, y, a, b): return c[y == b].mean(0)", "reversed"),
    (ARITHMETIC, "def direction(c, y, a, b): return c[y == a].mean(0) - c[y == b].mean(0)", "end at class 1"),
    (GENERATE, "def generate(label, n, seed=0): return FASHION.x_train[:n]", "another seed"),
    (GENERATE, "def generate(label, n, seed=0): return FASHION.x_train[:3]", "expected 50 images"),
    (
        GENERATE,
        "def generate(label, n, seed=0):\n"
        "    z = fashion_codes[fashion_labels == 1].mean(0) + seed * np.ones(8)\n"
        "    return fashion_vae.decode(np.repeat(z[None], n, 0))",
        "all images are one",
    ),
    (
        GENERATE,
        "def generate(label, n, seed=0):\n"
        "    z = np.random.default_rng(seed).standard_normal((n, 8))\n"
        "    return fashion_vae.decode(fashion_codes[fashion_labels == 5].mean(axis=0) + 0.1 * z)",
        "look like class 1",
    ),
    (ACCURACY, "def label_accuracy(make, judge, k, n): return np.ones(k)", "one share over all"),
    (
        ACCURACY,
        "def label_accuracy(make, judge, k, n): return np.mean(judge.predict(make(0, n)) == 0)",
        "3 of 4",
    ),
    (ACCURACY, "def label_accuracy(make, judge, k, n): return 1 / k", "3 of 4"),
    (GAIN, "def net_gain(frame, dataset): return [40.0]", "2 steps; received 1"),
    (GAIN, "def net_gain(frame, dataset): return [40.0, 5.0]", "were rates counted"),
    (GAIN, "def net_gain(frame, dataset): return [1.0, 25.0]", "sorted by size"),
    (ENOUGH, "def enough(frame, dataset): return 7", "one of the sizes"),
    (ENOUGH, "def enough(frame, dataset): return frame['latent_dim'].max()", "fashion_mnist: not 32"),
    (ENOUGH, "def enough(frame, dataset): return 8", "cifar10: not 8"),
    (
        ENOUGH,
        "def enough(frame, dataset):\n"
        "    chosen = frame[frame['dataset'] == dataset].groupby('latent_dim')['elbo_test'].mean()\n"
        "    return 8 if dataset == 'fashion_mnist' else chosen.idxmax()",
        "within the noise",
    ),
    (ACTIVE, "def count_active(z, threshold=0.01): return int((z.std(0) > threshold).sum())", "variance"),
    (
        ACTIVE,
        "def count_active(z, threshold=0.01): return int((abs(z.mean(0)) > threshold).sum())",
        "variance",
    ),
    (ACTIVE, "def count_active(z, threshold=0.01): return int((z.var(0) > 0.01).sum())", "an argument"),
    (LOSS, "def beta_loss(d, r, b): return np.mean(b * d + r)", "beta weighs"),
    (LOSS, "def beta_loss(d, r, b): return d + b * r", "one number"),
    (LOSS, "def beta_loss(d, r, b): return np.sum(d + b * r)", "not a sum"),
    (TRUE_BETA, "def true_beta(s): return s[0] * s[1]", "channels"),
    (TRUE_BETA, "def true_beta(s): return 1", "784"),
    (GAP, "def gap(i, e): return np.mean(i.max(0) / e)", "has no gap"),
    (
        GAP,
        "def gap(i, e):\n    second, first = np.sort(i, axis=1).T[-2:]\n    return np.mean(first - second)",
        "share of the entropy",
    ),
    (GAP, "def gap(i, e): return np.mean(np.sort(i, 0)[-1] - np.sort(i, 0)[-2])", "share of the entropy"),
]


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_every_check_rejects_a_wrong_answer_and_says_why(notebook, world, number, answer, message):
    with pytest.raises(AssertionError, match=message):
        run_exercise(notebook, world, number, answer)


def test_every_check_has_a_wrong_answer_that_it_rejects():
    assert {number for number, _, _ in WRONG} == set(range(STEPS))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(4))
def test_every_extension_runs(notebook, number, tmp_path):
    import keras

    data, shown = vl.load_dataset("digits").subset(n_train=200), []
    judge = vl.evaluation.Classifier(data.image_shape, 10, vl.evaluation.ClassifierConfig())
    scope = {
        **dict(np=np, keras=keras, vl=vl, DATASETS=("digits",), FASHION=data, MODELS_DIR=tmp_path),
        **dict(judge=judge, display=shown.append),
    }
    extensions = tagged(notebook, "extension")
    assert len(extensions) == 4
    exec(solution_of(extensions[number]), scope)
    if number == 3:  # the classifier's features pull on the decoder, or the loss would be the old one
        assert scope["perceptual"].history.history["loss"][-1] > 0 and len(shown) == 1


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
from nbclient.exceptions import CellExecutionError
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
    for results in ("study", "showcase/sprites-beta"):
        shutil.copytree(committed.ROOT / "models" / results, project / "models" / results)
    copy = project / committed.PATH.name
    shutil.copy(committed.PATH, copy)
    nbconvert = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", str(copy)]
    tables = executed(copy, nbconvert, tmp_path)
    figures = {path.name: path.read_bytes() for path in (project / "images").iterdir()}
    assert {name.rpartition(".")[2] for name in figures} == {"png", "svg", "gif"} and tables
    trained = {path: path.stat().st_mtime_ns for path in (project / "models").glob("*/model.keras")}
    command = [sys.executable, "-c", KERNEL_IN_ANOTHER_FOLDER, str(copy), str(project / "images")]
    assert executed(copy, command, tmp_path) == tables
    assert figures == {path.name: path.read_bytes() for path in (project / "images").iterdir()}
    assert trained == {path: path.stat().st_mtime_ns for path in (project / "models").glob("*/model.keras")}
    assert trained and {path.name for path in tmp_path.iterdir()} == {"my study", "site"}
