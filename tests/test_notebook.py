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
STEPS = 13  # of the five exercises, that are solved by code


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
    words = re.sub(r"[A-Za-z0-9+/=]{200,}", "", text)  # the letters of an encoded picture may spell anything
    assert not re.search(r"/(home|root|tmp|Users)/|[A-Z]:\\\\Users", words)


def test_the_file_is_small_enough_to_open_in_a_browser():
    assert committed.PATH.stat().st_size <= 5 * MEGABYTE


def test_the_first_page_comes_before_any_code_and_says_what_the_study_found(notebook):
    page, cells = notebook.cells[0], notebook.cells
    assert page.cell_type == "markdown" and next(c for c in cells if c.cell_type == "code") is not page
    configs, runs = vl.study.all_configs("full"), committed.ROOT / "models" / "study"
    table = vl.study.read_results(configs, runs, vl.study.STUDY_EVALUATION)
    assert vl.study.markdown_table(vl.study.key_findings(table)) in page.source
    shown = re.findall(r"!\[.+\]\((.+)\)", page.source)
    made = "".join(cell.source for cell in code_cells(notebook))
    assert len(shown) >= 3 and all((committed.ROOT / path).is_file() for path in shown)
    assert all(f'"{path.removeprefix("images/").removesuffix(".png")}"' in made for path in shown)


def test_setup_is_short(notebook):
    code = sections(notebook)["## 1 Setup"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20


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
    assert len(texts) == 5
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
    for results in ("study", "showcase", "tune"):
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
        ((), "quick", "Stopped: vae_lib is not beside this notebook; run:"),
        (("vae_lib",), "Quick", "Stopped: VAE_PRESET is 'Quick': choose smoke, quick or full"),
    ],
)
def test_what_the_notebook_lacks_is_said_with_what_mends_it(notebook, beside, preset, sentence, tmp_path):
    for folder in beside:
        shutil.copytree(committed.ROOT / folder, tmp_path / folder)
    first = nbformat.v4.new_notebook(cells=code_cells(notebook)[:4], metadata=notebook.metadata)
    with pytest.raises(CellExecutionError):
        NotebookClient(first, resources={"metadata": {"path": str(tmp_path)}}).execute(
            env={**os.environ, "VAE_PRESET": preset}
        )
    errors = [output for cell in first.cells for output in cell.outputs if output.output_type == "error"]
    ((shown, *mends),) = (error.traceback for error in errors)
    assert shown == sentence and [line.split()[0] for line in mends] == ["!git", "%cd"][: 2 * (not beside)]


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

    def elbo_terms(x):  # what a PNG takes, and the squared error: as in real life, simple images are likely
        offset, z = x.reshape(len(x), -1) / 255.0 - mean, encode(x)[0]
        squared = (z**2).sum(1)
        distortion, rate = np.log(2) * png_bits(x) + 5 * ((offset**2).sum(1) - squared), squared / 2
        return {"elbo": -distortion - rate, "distortion": distortion, "rate": rate}

    def reconstruct(x):
        return decode(encode(x)[0])

    model = SimpleNamespace(encode=encode, decode=decode, reconstruct=reconstruct, elbo_terms=elbo_terms)
    neighbours = KNeighborsClassifier(10).fit(flat, data.y_train)
    judge = SimpleNamespace(predict=lambda x: neighbours.predict(x.reshape(len(x), -1) / 255.0))
    sample = lambda n, label, seed: data.x_train[data.y_train == label][:n]  # noqa: E731
    factors = np.random.default_rng(0).integers(0, 4, (400, 2))
    sprite_codes = np.column_stack([factors[:, 0], factors.sum(1), np.zeros(400)]) + 0.0
    information, entropy = vl.metrics.mutual_information(sprite_codes, factors)
    rng = np.random.default_rng(0)
    stripes = np.repeat(rng.integers(0, 256, (200, 8, 1, 1), dtype="uint8"), 8, axis=2)
    noise = rng.integers(0, 256, stripes.shape, dtype="uint8")
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
        **dict(MODELS={"digits-hierarchical": two_scales()}, png_bits=png_bits),
        **dict(DIGITS=SimpleNamespace(title="stripes"), foreign=stripes, noise=noise, WITH_MODELS=True),
    }


def png_bits(x):
    return np.array([vl.evaluation.codec_bits_per_dim(image[None], "PNG")[0] * image.size for image in x])


def two_scales():
    """Return a model with a quarter of the rate at its coarse scale, which gives every second mixed image."""

    def elbo_terms(x):
        rates = {"rate_1x1": np.linspace(0, 2, len(x)), "rate_4x4": np.linspace(4, 2, len(x))}
        rate = sum(rates.values())
        return {"elbo": -100.0 - rate, "distortion": np.full(len(x), 100.0), "rate": rate, **rates}

    def mix_levels(x_top, x_bottom, split):
        return np.where(np.arange(len(x_top)).reshape(-1, 1, 1, 1) % 2 < split, x_top, x_bottom)

    names = ["rate_1x1", "rate_4x4"]
    return SimpleNamespace(rate_names=names, elbo_terms=elbo_terms, mix_levels=mix_levels)


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


def solved(notebook, world, number):
    return run_exercise(notebook, world, number, solution_of(tagged(notebook, "solution")[number]))


def test_the_scales_of_a_model_are_reported_as_they_are(notebook, world):
    assert solved(notebook, world, SHARE) == "passed: 1x1 25%, 4x4 75%"
    printed = solved(notebook, world, FROM_TOP)
    none, some, every = (int(share) for share in re.findall(r"(\d+)%", printed))
    assert none < 10 and 35 < some < 65 and every > 90, printed


def test_likely_images_need_not_be_known_and_without_trained_models_no_score_is_judged(notebook, world):
    assert solved(notebook, world, AUROC).startswith("passed: -ELBO 0.0")
    assert re.fullmatch("passed: AUROC .* for digits, .* for noise", solved(notebook, world, NOVELTY))
    untrained = solved(notebook, {**world, "WITH_MODELS": False}, NOVELTY)
    assert untrained.startswith("of the right form") and not re.search(r"\d", untrained)


def test_a_score_of_another_kind_passes(notebook, world):
    error = "def novelty(vae, x): return vl.metrics.mse_of_each(x, vae.reconstruct(x))"
    assert run_exercise(notebook, world, NOVELTY, error).startswith("passed: AUROC")


ARITHMETIC, GENERATE, ACCURACY, GAIN, ENOUGH, ACTIVE, LOSS, TRUE_BETA, GAP = range(9)
SHARE, FROM_TOP, AUROC, NOVELTY = range(9, STEPS)


def shares(of_scale, prefix="rate_"):
    """Return an answer that gives each scale a share, an expression of its nats `a` and of all terms."""
    names = f"{{k.removeprefix('rate_'): v for k, v in terms.items() if k.startswith('{prefix}')}}"
    return f"def share_by_scale(terms): return {{k: {of_scale} for k, a in {names}.items()}}"


def mixed(share="np.mean((judged == y_top)[y_top != y_bottom])", latents="x_top, x_bottom, split"):
    """Return an answer that takes a share of what is judged of images mixed of these latents."""
    return (
        "def class_from_top(vae, judge, top, bottom, split):\n"
        "    (x_top, y_top), (x_bottom, y_bottom) = top, bottom\n"
        f"    judged = judge.predict(vae.mix_levels({latents}))\n    return {share}"
    )


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
    (SHARE, shares("a.sum() / terms['rate'].sum()", prefix="rate"), "'rate'"),
    (SHARE, shares("a / terms['rate']"), "one share for each scale"),
    (SHARE, shares("a.mean()"), "sum to 1"),
    (SHARE, shares("a.sum() / -terms['elbo'].sum()"), "sum to 1"),
    (SHARE, shares("(a / terms['rate']).mean()"), "summed over images before dividing"),
    (SHARE, shares("1 / 2"), "10 of 50 nats"),
    (FROM_TOP, mixed("judged == y_top"), "one share over all pairs"),
    (FROM_TOP, mixed("np.sum((judged == y_top)[y_top != y_bottom])"), "a share of pairs"),
    (FROM_TOP, mixed("np.mean((judged == y_bottom)[y_top != y_bottom])"), "of top's class"),
    (FROM_TOP, mixed("np.mean(judged == y_top)"), "Pairs of one class left out"),
    (FROM_TOP, mixed(latents="x_bottom, x_top, split"), "of top's class"),
    (FROM_TOP, mixed(latents="x_bottom, x_top, 2 - split"), "mixed first"),
    (FROM_TOP, mixed(latents="x_top, x_bottom, 2"), "is it used"),
    (AUROC, "def auroc(i, o): return o[:, None] > i", "one number over all pairs"),
    (AUROC, "def auroc(i, o): return np.mean(i[:, None] > o)", "which set should be the higher"),
    (AUROC, "def auroc(i, o): return np.mean(np.resize(o, i.shape) > i)", "every one inside"),
    (AUROC, "def auroc(i, o): return np.mean(o > np.median(i))", "every one inside"),
    (AUROC, "def auroc(i, o): return np.mean(o[:, None] > i)", "ties count half"),
    (AUROC, "def auroc(i, o): return np.mean(o[:, None] >= i)", "ties count half"),
    (
        AUROC,
        "def auroc(i, o): return np.sum((o[:, None] > i) + 0.5 * (o[:, None] == i)) / len(i) ** 2",
        "15 pairs",
    ),
    (NOVELTY, "def novelty(vae, x): return -vae.elbo_terms(x)['elbo'].mean()", "one score an image"),
    (NOVELTY, "def novelty(vae, x): return np.full(len(x), np.nan)", "NaN or infinite"),
    (
        NOVELTY,
        "def novelty(vae, x):\n    elbo = vae.elbo_terms(x)['elbo']\n    return abs(elbo - elbo.mean())",
        "each by itself",
    ),
    (NOVELTY, "def novelty(vae, x): return np.random.default_rng().random(len(x))", "each by itself"),
    (NOVELTY, "def novelty(vae, x): return -vae.elbo_terms(x)['elbo']", "digits: AUROC 0.0"),
    (NOVELTY, "def novelty(vae, x): return vae.elbo_terms(x)['elbo']", "noise: AUROC 0.0"),
    (NOVELTY, "def novelty(vae, x): return -png_bits(x)", "turned to fit the digits"),
    (NOVELTY, "def novelty(vae, x): return -vae.elbo_terms(x)['elbo'] - png_bits(x)", "in one unit"),
    (NOVELTY, "def novelty(vae, x): return np.zeros(len(x))", "noise: AUROC 0.50"),
]


@pytest.mark.parametrize(("number", "answer", "message"), WRONG)
def test_every_check_rejects_a_wrong_answer_and_says_why(notebook, world, number, answer, message):
    with pytest.raises(AssertionError, match=message):
        run_exercise(notebook, world, number, answer)


def test_every_check_has_a_wrong_answer_that_it_rejects():
    assert {number for number, _, _ in WRONG} == set(range(STEPS))


def extension_world(tmp_path):
    """Return what the extensions' blocks find defined above them, on digits, and what they display."""
    import keras
    import tensorflow as tf

    data, shown, small = vl.load_dataset("digits").subset(n_train=200), [], dict(width=4, dense_units=32)
    judge = vl.evaluation.Classifier(data.image_shape, 10, vl.evaluation.ClassifierConfig(width=4))
    models = {
        "digits-z32": vl.VAE(data.image_shape, latent_dim=32, **small),
        "sprites-beta": vl.VAE((16, 16, 1), latent_dim=10, **small),
    }
    scope = {
        **dict(np=np, pd=pd, tf=tf, keras=keras, vl=vl, judge=judge, display=shown.append),
        **dict(DATASETS=("digits",), FASHION=data, MODELS=models, MODELS_DIR=tmp_path, IMAGES_DIR=tmp_path),
    }
    return scope, shown


def check_annealing(run, **_):
    weights = (run.history["loss"] - run.history["distortion"]) / run.history["rate"] / run.config.beta
    assert weights[0] < 0.9 and np.isclose(weights[1], 1)  # the first epoch is that of the annealing


def check_perceptual(vae, features, data, **_):
    logs = vae.history.history
    assert logs["loss"][0] > logs["distortion"][0] + logs["rate"][0] + 1  # the difference is the penalty
    terms = vae.elbo_terms(data.x_test)
    assert np.allclose(terms["elbo"], -terms["distortion"] - terms["rate"])  # it is not in the bound
    assert not {id(weight) for weight in features.weights} & {id(weight) for weight in vae.weights}


def check_critic(vae, critic, start, data, tf, keras, **_):
    biases = [layer.bias for layer in critic.layers if hasattr(layer, "bias")]
    assert len(biases) == 3 and all(
        np.any(bias) for bias in biases
    )  # they began at 0: the critic has learned
    with tf.GradientTape(persistent=True) as tape:
        loss = keras.ops.mean(keras.ops.softplus(-vae.judged(data.x_test)))
    assert all(np.any(g) for g in tape.gradient(loss, vae.decoder.trainable_variables))
    assert all(g is None for g in tape.gradient(loss, vae.encoder.trainable_variables))
    assert len(vae.trainable_variables) == len(
        start.trainable_variables
    )  # the VAE's step leaves the critic alone


def check_sprites(codes, ahead, tmp_path, **_):
    from PIL import Image

    assert np.allclose(ahead - codes[1:-1], codes[1:-1] - codes[:-2], atol=1e-5) and len(codes) == 16
    with Image.open(tmp_path / "20_moving_sprite.gif") as film:
        assert film.n_frames > 1 and film.size == (4 * 2 * 16, 4 * 16)


def check_hierarchies(rows, run, **_):
    shallow, deep = ({name for name in row if name.startswith("rate_")} for row in rows)
    assert shallow < deep and len(deep) == 4 and rows[0]["parameters"] < rows[1]["parameters"]
    assert run.history["val_loss"].iloc[-1] < run.history["val_loss"].iloc[0]


def check_tuning(found, **_):
    assert len(found.trials) == 3 and found.trials["learning_rate"].nunique() == 3
    assert (found.comparison["status"] == "finished").all()


EXTENSIONS = {  # title -> what its block must have done, and how many figures and tables it displays
    "KL annealing": (check_annealing, 0),
    "Perceptual loss": (check_perceptual, 1),
    "A critic on top of the decoder": (check_critic, 1),
    "Moving sprites": (check_sprites, 3),
    "Deeper hierarchies": (check_hierarchies, 1),
    "Tuning": (check_tuning, 1),
}


def test_every_extension_says_what_to_look_for_what_comes_next_and_what_is_left_out(notebook):
    texts = [cell.source for cell in tagged(notebook, "extension")]
    assert [re.match(r"\*\*(.+?)\.\*\*", text)[1] for text in texts] == list(EXTENSIONS)
    for text in texts:
        for part in ("*Look for*", "*Next:*", "*Left out:*", "```python\n"):
            assert text.count(part) == 1, part


@pytest.mark.slow
@pytest.mark.parametrize("title", EXTENSIONS)
def test_every_extension_runs_and_does_what_it_is_for(notebook, title, tmp_path):
    (scope, shown), (check, n_shown) = extension_world(tmp_path), EXTENSIONS[title]
    if title == "Deeper hierarchies":  # 8x8 pixels have one scale below z
        x = scope["FASHION"].x_train.repeat(3, axis=1).repeat(3, axis=2)
        scope["FASHION"] = vl.data.from_arrays(x, name="digits")
    (cell,) = (c for c in tagged(notebook, "extension") if c.source.startswith(f"**{title}.**"))
    exec(solution_of(cell), scope)
    assert len(shown) == n_shown
    check(**scope, data=scope["FASHION"], tmp_path=tmp_path)


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
    for results in ("study", "showcase", "tune"):
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
