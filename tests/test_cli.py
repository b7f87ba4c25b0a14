import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tools.execute_notebook import ROOT
from vae_lib.cli import main, make_parser
from vae_lib.cli.entry import COMMANDS, telling_once
from vae_lib.cli.ood import _spelling
from vae_lib.cli.parser import FIELDS, chosen
from vae_lib.cli.sample import _labels
from vae_lib.cli.study import _comparisons
from vae_lib.cli.tune import train_options
from vae_lib.config import TrainConfig
from vae_lib.data.image_list import load_image_list
from vae_lib.data.loading import load_dataset
from vae_lib.evaluation.report import write_report
from vae_lib.training.run import load_run, lock_run
from vae_lib.training.trainer import train
from vae_lib.utils.errors import InputError

QUICK = ["--epochs", "1", "--latent-dim", "2", "--width", "4", "--dense_units=16", "--batch-size", "256"]

SHOWN = ROOT / "models" / "showcase" / "mnist-z2"


def run_alone(*arguments):
    """Run the command in a process of its own; return exit code, output and errors."""
    environment = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "vae_lib", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def run(capfd, monkeypatch):
    """A function that runs the command in this process; it returns exit code, output and errors."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")

    def run(*arguments):
        capfd.readouterr()
        with warnings.catch_warnings():
            for hidden in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", hidden)  # as Python does, unlike pytest
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as stop:
                code = stop.code
        return code, *capfd.readouterr()

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    models_dir = tmp_path_factory.mktemp("models")
    words = ["train", "--dataset", "digits", *QUICK, "--models-dir", models_dir, "--verbose", 2]
    code, out, err = run_alone(*words)
    assert code == 0, err
    return models_dir, out, err


def run_in(models_dir):
    """The run directory, not that of a classifier."""
    (directory,) = (path for path in models_dir.iterdir() if not path.name.startswith("classifier-"))
    return directory


def test_train_prints_a_table_with_units_and_the_run_and_nothing_on_stderr(trained):
    models_dir, out, err = trained
    assert "bits/dim (lower is better)" in out and "embedded digits" in out and err == ""
    assert out.splitlines()[-1] == f"run: {run_in(models_dir)}"


@pytest.mark.slow
def test_evaluate_writes_table_json_and_figures(trained, run, tmp_path):
    models_dir, _, _ = trained
    name = run_in(models_dir).name
    code, out, err = run(
        *("evaluate", name, "--models_dir", models_dir, "--num_samples", 4, "--out", tmp_path / "a b")
    )
    assert (code, err) == (0, "") and "PSNR" not in err and "psnr" in out
    written = json.loads((tmp_path / "a b" / "evaluation.json").read_text())
    metrics = json.loads((models_dir / name / "metrics.json").read_text())
    assert written["source"] == "embedded digits (scikit-learn)" and written["split"] == "test"
    assert written["scores"].items() <= metrics.items()  # the same numbers as at the end of training
    scorecard = json.loads((tmp_path / "a b" / "scorecard.json").read_text())
    rows = {(row["metric"], row["target"]): row for row in scorecard["scores"]}
    assert rows["frechet_distance", "real"]["value"] > 0 and "left out" in out
    figures = {path.stem for path in (tmp_path / "a b").glob("*.png")}
    assert figures == {
        *("loss_curves", "reconstructions", "samples", "samples_drawn", "interpolation", "latent_space"),
        "manifold",
    }


@pytest.mark.slow
def test_quick_takes_the_scores_of_the_training_s_end_and_no_classifier(trained, tmp_path):
    models_dir, _, _ = trained
    before = sorted(models_dir.iterdir())
    (tmp_path / "scorecard.json").write_text("of a full evaluation")
    words = ["evaluate", run_in(models_dir), "--models_dir", models_dir, "--quick", "--out", tmp_path]
    code, out, err = run_alone(*words)
    assert (code, err) == (0, "") and "bits/dim (lower is better)" in out
    assert sorted(models_dir.iterdir()) == before
    assert "bits_per_dim_test" in json.loads((tmp_path / "evaluation.json").read_text())["scores"]
    assert (tmp_path / "scorecard.json").read_text() == "of a full evaluation"


def test_sample_writes_images_of_the_data_s_size(trained, run, tmp_path):
    models_dir, _, _ = trained
    (tmp_path / "sample_0007.png").write_text("of an earlier call")
    code, _, err = run("sample", run_in(models_dir), "--num-samples", 3, "--out", tmp_path, "--draw")
    assert (code, err) == (0, "")
    pictures = sorted(tmp_path.glob("sample_*.png"))
    assert len(pictures) == 3 and np.asarray(Image.open(pictures[0])).shape == (8, 8)


def test_sample_says_which_prior_it_takes_and_fits_the_mixture_once(trained, run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run_in(trained[0]), folder)
    (folder / "mixture.npz").unlink(missing_ok=True)
    words = ("sample", folder, "--num_samples", 4, "--out", tmp_path / "out")
    code, out, _ = run(*words, "--prior", "model")
    assert code == 0 and "fitting" not in out and not (folder / "mixture.npz").exists()
    code, out, _ = run(*words)
    assert code == 0 and "fitting the mixture prior of run, once" in out
    assert re.search(r"prior: (model|mixture) \(Fréchet distances .*: model [\d.]+, mixture [\d.]+\)", out)
    code, out, _ = run(*words, "--label", "7")  # the model is unconditional, and the mixture has classes
    assert code == 0 and "fitting" not in out and "prior: mixture" in out
    for prior in ("model", "mixture"):  # looked at though neither needs it now
        code, _, err = run(*words, "--prior", prior, "--data", tmp_path / "none")
        assert code == 2 and "none" in err and err.count("\n") == 1


@pytest.fixture
def without_images(trained, tmp_path):
    """A copy of a run whose images are gone, with nothing that was computed of them after its training."""
    folder = tmp_path / "run"
    ignored = shutil.ignore_patterns("mixture.npz", "reference.npz")
    shutil.copytree(run_in(trained[0]), folder, ignore=ignored)
    description = json.loads((folder / "config.json").read_text())
    description["config"]["dataset"] = "/no/such/folder"
    (folder / "config.json").write_text(json.dumps(description))
    return folder


def test_sample_without_its_images_says_why_it_takes_the_model_s_prior(without_images, run, tmp_path):
    folder = without_images
    words = ("sample", folder, "--num_samples", 2, "--out", tmp_path / "out")
    code, out, _ = run(*words)
    assert code == 0 and "no mixture is fitted yet" in out and "/no/such/folder" in out
    code, _, err = run(*words, "--prior", "mixture")
    assert code == 2 and "--data PATH finds them" in err and err.count("\n") == 1


def test_encode_writes_the_codes_of_all_images_with_their_labels(trained, run, tmp_path):
    models_dir, _, _ = trained
    code, out, err = run("encode", run_in(models_dir), "--out", tmp_path)
    assert (code, err) == (0, "") and "1,457 train, 161 val, 179 test images" in out
    codes, data = np.load(tmp_path / "codes.npz"), load_dataset("digits")
    assert codes["z_mean_train"].shape == codes["z_log_var_train"].shape == (1457, 2)
    assert np.array_equal(codes["y_test"], data.y_test)
    assert tuple(codes["class_names"]) == data.class_names
    assert not any(key.startswith("files") for key in codes.files)
    table = pd.read_csv(tmp_path / "codes.csv")
    assert list(table.columns) == ["part", "label", "z_mean_0", "z_mean_1", "z_log_var_0", "z_log_var_1"]
    of_test = table[table.part == "test"]
    np.testing.assert_allclose(of_test[["z_mean_0", "z_mean_1"]], codes["z_mean_test"], rtol=1e-4, atol=1e-6)
    assert np.array_equal(of_test.label, data.y_test)
    z_mean, _ = load_run(run_in(models_dir)).model().encode(data.x_test)
    np.testing.assert_allclose(codes["z_mean_test"], z_mean, rtol=1e-5, atol=1e-6)


@pytest.fixture
def new_images(tmp_path, rng):
    """A folder of six images of several sizes and modes, in places that would be parts of a data set."""
    for i, (shape, place) in enumerate(
        zip(2 * [(8, 8), (30, 20), (9, 9, 3)], 3 * ["test", "b"], strict=True)
    ):
        pixels = Image.fromarray(rng.integers(0, 256, shape, dtype="uint8"))
        (tmp_path / "new" / place).mkdir(parents=True, exist_ok=True)
        pixels.save(tmp_path / "new" / place / f"{i}.png")
    return tmp_path / "new"


NEW_FILES = ["b/1.png", "b/3.png", "b/5.png", "test/0.png", "test/2.png", "test/4.png"]


def test_score_writes_a_row_a_file_and_a_contact_sheet(trained, run, new_images, tmp_path):
    models_dir, out = trained[0], tmp_path / "out"
    words = ("score", run_in(models_dir), "--data", new_images, "--out", out, "--data_dir", tmp_path / "data")
    code, said, err = run(*words)
    assert (code, err) == (0, ""), err
    assert "6 images: image folder new, 4 of 6 images resized to 8x8, colour converted to grey" in said
    assert "scoring the test images of" in said and "than all 179 test images of" in said
    table = pd.read_csv(out / "scores.csv")
    assert table["file"].tolist() == NEW_FILES
    columns = ["bits_per_dim", "elbo", "rate", "distortion", "psnr", "typicality", "percentile"]
    assert list(table.columns) == ["file", *columns] and np.isfinite(table[columns]).all(axis=None)
    np.testing.assert_allclose(table["elbo"], -table["rate"] - table["distortion"], rtol=1e-4)
    assert {path.name for path in out.iterdir()} == {"scores.csv", "contact_sheet.png", "contact_sheet.svg"}
    before = (out / "scores.csv").read_bytes()
    code, said, _ = run(*words)
    assert code == 0 and "scoring the test" not in said and (out / "scores.csv").read_bytes() == before
    assert "bits_per_dim  the bound" in said and "\ntypicality" in said and "\nlabel" not in said
    code, _, err = run(*words, "--run_data", new_images)  # looked at though its scores are kept
    assert code == 2 and "folder 'test' is named like a part" in err and err.count("\n") == 1


def test_the_percentile_of_the_run_s_own_test_images_is_spread_evenly(trained, run, tmp_path):
    code, _, err = run("score", run_in(trained[0]), "--data", "digits", "--out", tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert code == 0 and len(table) == 179 and table["file"][178] == "x_test[178]", err
    np.testing.assert_allclose(np.sort(table["percentile"]), 100 * np.arange(179) / 179, atol=1e-3)


def test_without_its_own_images_a_run_scores_all_but_typicality_and_percentile(
    without_images, run, new_images, tmp_path
):
    folder = without_images
    words = (
        "score",
        folder,
        "--data",
        new_images,
        "--out",
        tmp_path / "out",
        "--data_dir",
        tmp_path / "data",
    )
    code, out, _ = run(*words)
    assert "\ntypicality" not in out and "\npercentile" not in out and "\nbits_per_dim" in out
    assert code == 0 and "without typicality and percentile" in out and "--run_data PATH finds them" in out
    assert list(pd.read_csv(tmp_path / "out" / "scores.csv"))[-1] == "psnr"
    shutil.rmtree(tmp_path / "out")
    code, _, err = run(*words, "--run_data", new_images)
    assert code == 2 and err.count("\n") == 1 and "new" in err and not list((tmp_path / "out").iterdir())
    code, out, err = run(*words, "--run_data", "digits")
    assert code == 0 and "without typicality" not in out and (folder / "reference.npz").exists(), err


def test_reconstruct_writes_a_file_for_each_image_and_which_is_whose(trained, run, new_images, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "reconstruction_0007.png").write_text("of an earlier call")
    words = ("--data", new_images, "--out", tmp_path / "out", "--data_dir", tmp_path / "data")
    code, out, err = run("reconstruct", run_in(trained[0]), *words)
    assert (code, err) == (0, "") and "6 reconstructions, " in out
    table = pd.read_csv(tmp_path / "out" / "reconstructions.csv")
    assert table["file"].tolist() == NEW_FILES and not (tmp_path / "out/reconstruction_0007.png").exists()
    again = [np.asarray(Image.open(tmp_path / "out" / name)) for name in table["reconstruction"]]
    images = load_image_list(new_images, (8, 8, 1), tmp_path / "data").x
    expected = load_run(run_in(trained[0])).model().reconstruct(images)
    assert np.abs(np.stack(again).astype(int) - expected[..., 0]).max() <= 1


def test_names_that_are_no_utf_8_and_another_range_of_pixels_are_no_obstacle_but_said(trained, run, tmp_path):
    folder = os.fsencode(tmp_path / "new")
    os.mkdir(folder)
    for name in (b"caf\xe9.png", b"b.png"):
        mask = Image.fromarray(np.eye(8, dtype="uint8"))
        with open(os.path.join(folder, name), "wb") as file:
            mask.save(file, "PNG")
    out = tmp_path / "out"
    words = ("encode", run_in(trained[0]), "--new", "--data", tmp_path / "new", "--out", out)
    code, _, err = run(*words, "--data_dir", tmp_path / "data")
    assert code == 0 and sorted(os.listdir(out)) == ["codes.csv", "codes.npz"]
    assert pd.read_csv(out / "codes.csv")["file"].tolist() == ["b.png", "caf\\udce9.png"]
    assert "values 0 and 1 spread to 0 and 255; in training, kept as they were" in err
    assert err.count("\n") == 1


def test_encode_new_writes_the_codes_of_other_images(trained, run, new_images, tmp_path):
    words = ("--data", new_images, "--out", tmp_path / "out", "--data_dir", tmp_path / "data")
    code, _, err = run("encode", run_in(trained[0]), *words)
    assert code == 2 and "with --new, other images are encoded" in err and err.count("\n") == 1
    code, _, err = run("encode", run_in(trained[0]), *words, "--new")
    assert (code, err) == (0, "")
    codes, table = np.load(tmp_path / "out" / "codes.npz"), pd.read_csv(tmp_path / "out" / "codes.csv")
    assert codes["files"].tolist() == table["file"].tolist() == NEW_FILES
    np.testing.assert_allclose(table[["z_mean_0", "z_mean_1"]], codes["z_mean"], rtol=1e-4, atol=1e-6)
    code, _, err = run("encode", run_in(trained[0]), "--new", "--out", tmp_path / "none")
    assert code == 2 and "--new needs --data" in err and not (tmp_path / "none").exists()


def test_ood_prints_a_table_and_writes_it(trained, run, new_images, tmp_path):
    words = ("--num_images", 30, "--iwae", 0, "--out", tmp_path / "out", "--data_dir", tmp_path / "data")
    code, out, err = run("ood", run_in(trained[0]), *words, "--against", "noise", new_images)
    assert (code, err) == (0, "") and "uniform noise" in out and "95 % interval over images" in out
    table = pd.read_csv(tmp_path / "out" / "ood.csv")
    assert table["n_outside"].tolist() == 6 * [30] + 6 * [6] and "iwae" not in set(table["score"])
    assert (tmp_path / "out" / "ood.png").exists()


def test_a_folder_that_is_called_like_a_change_is_one_where_it_is_given_as_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "noise").mkdir()
    assert _spelling("noise") == "noise"  # made of the run's own images
    assert _spelling("./noise") == _spelling(str(tmp_path / "noise")) == "./noise"
    assert _spelling("blur") == "blur" and _spelling("mnist") == "mnist"


@pytest.mark.parametrize(
    "settings",
    [
        {"conditional": True, "prior": "normal"},
        {"conditional": True},
        {"conditional": True, "latent_dim": 1},
        {"prior": "flow"},
        {"network": "hierarchical", "scale_latents": (4, 2), "binarize": True, "likelihood": "bernoulli"},
    ],
)
def test_the_command_that_tune_prints_trains_what_it_chose(settings, tmp_path):
    config = TrainConfig(dataset="digits", **settings)
    search = make_parser().parse_args(
        ["tune", "--dataset", "digits", "--data_dir", str(tmp_path), "--skip_bad"]
    )
    words = shlex.split(train_options(config, search))
    options = make_parser().parse_args(["train", *words])
    assert TrainConfig(**chosen(options, FIELDS)) == config
    assert options.data_dir == tmp_path and options.skip_bad


def test_a_run_that_was_finished_before_says_so(trained, run):
    models_dir, first, _ = trained
    assert "train 1,457, val 161, test 179 images of 8x8x1; 10 classes (all parts): 0 178, 1 182, " in first
    again = run("train", "--dataset", "digits", *QUICK, "--models-dir", models_dir, "--verbose", 0)
    assert again[0] == 0 and "finished before" in again[1] and "finished before" not in first


def asking(label, n, prior=None):
    return SimpleNamespace(label=label, num_samples=n, prior=prior)


@pytest.mark.parametrize(("label", "index"), [("shoe", 1), ("2", 2), ("0", 3)])
def test_a_class_is_asked_for_by_name_or_number(label, index):
    data = {"n_classes": 4, "class_names": ["hat", "shoe", "bag", "0"]}
    made = SimpleNamespace(data=data, config=SimpleNamespace(conditional=True), name="made")
    assert _labels(made, asking(label, 3)) == 3 * [index]
    assert _labels(made, asking(None, 5)) == [0, 1, 2, 3, 0]
    for wrong in ("Shoe", "4", "-1", "1.0", "²", ""):
        with pytest.raises(InputError, match="from 0 to 3, or one of hat, shoe, bag, 0; received"):
            _labels(made, asking(wrong, 3))


def test_an_unconditional_run_gives_classes_from_its_mixture_alone():
    made = SimpleNamespace(data={"n_classes": 2, "class_names": ["cat", "dog"]}, name="made")
    made.config = SimpleNamespace(conditional=False)
    assert _labels(made, asking(None, 3)) is None and _labels(made, asking("dog", 2)) == [1, 1]
    with pytest.raises(InputError, match=r"--label needs a conditional model.*or take --prior mixture"):
        _labels(made, asking("dog", 2, prior="model"))
    made.data = {"n_classes": 0}
    with pytest.raises(InputError, match="--label needs classes; the images of made have none: leave it"):
        _labels(made, asking("dog", 2))


def test_classes_named_by_numbers_and_accents_in_either_spelling():
    made = SimpleNamespace(data={"n_classes": 2}, config=SimpleNamespace(conditional=True))
    made.data["class_names"] = ["3", "5"]
    assert _labels(made, asking("5", 2)) == [1, 1]
    with pytest.raises(InputError, match="--label must be one of 3, 5; received 0"):
        _labels(made, asking("0", 2))
    made.data["class_names"] = ["caf\u00e9", "tea"]
    assert _labels(made, asking("cafe\u0301", 1)) == _labels(made, asking("caf\u00e9", 1)) == [0]


def test_a_folder_that_has_the_name_of_a_known_data_set_is_the_folder(tmp_path, run, rng, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    for i in range(40):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype="uint8")
        Image.fromarray(pixels).save(tmp_path / "digits" / f"{i}.png")
    code, out, err = run("train", "--data", "digits", *QUICK[:-2], "--batch_size", 16, "--verbose", 0)
    assert code == 0 and "image folder digits" in out, err


@pytest.mark.slow
def test_labels_and_factors_get_a_figure_each(tmp_path):
    digits, sprites = (load_dataset(name).subset(600, 50, 120) for name in ("digits", "sprites"))
    sizes = dict(latent_dim=3, width=4, dense_units=16, epochs=1, batch_size=100)
    for data, options, name in (
        (digits, {"conditional": True, "likelihood": "bernoulli", "binarize": True}, "samples_by_class"),
        (sprites, {"prior": "flow"}, "factors"),
    ):
        config = TrainConfig(dataset=data.name, **sizes, **options)
        made = train(config, data, models_dir=tmp_path, verbose=0)
        write_report(made, data, tmp_path / name, 4)
        assert (tmp_path / name / f"{name}.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("classes", ["ab", "a"])
def test_a_folder_of_your_own_images_can_be_trained_evaluated_and_sampled(tmp_path, run, rng, classes):
    for i in range(60):
        folder = tmp_path / "mine" / classes[i % len(classes)]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 40, 3), dtype="uint8")).save(folder / f"{i}.png")
    places = ["--models_dir", tmp_path / "models", "--data_dir", tmp_path / "data"]
    options = ["--data", tmp_path / "mine", *QUICK[:-2], "--batch_size", 16, "--verbose", 0]
    code, _, err = run("train", *options, *places)
    assert code == 0, err
    name = run_in(tmp_path / "models").name
    for command in ("evaluate", "sample"):
        code, _out, err = run(command, name, "--num_samples", 4, *places, "--out", tmp_path / command)
        assert code == 0, err
    assert np.asarray(Image.open(tmp_path / "sample" / "sample_0000.png")).shape == (48, 40, 3)


@pytest.mark.slow
def test_a_study_is_done_in_shards_and_its_table_and_figures_are_drawn_from_what_is_there(tmp_path, run):
    places = ["--models_dir", tmp_path / "models", "--out", tmp_path / "out"]
    dry = run("study", "--preset", "smoke", "--dry-run", *places)
    assert dry[0] == 0 and "digits: 6 of 6 runs left" in dry[1] and not (tmp_path / "models").exists()
    for part in ("1/2", "2/2"):
        code, _, err = run("study", "--preset", "smoke", "--shard", part, "--jobs", 1, *places)
        assert code == 0 and "3 of 3 runs, 00:00 left" in err
        assert not list((tmp_path / "out").iterdir())  # a part is not shown as the whole
    before = sorted((tmp_path / "models").rglob("*"))
    began = time.perf_counter()
    code, out, _ = run("study", "--preset", "smoke", *places)
    assert time.perf_counter() - began < 120 and sorted((tmp_path / "models").rglob("*")) == before
    assert code == 0 and "6 runs of embedded digits" in out
    names = {path.stem for path in (tmp_path / "out").glob("*.png")}
    assert names == {
        "latent_size",
        "beta",
        "beta_rate_distortion_digits",
        "latent_size_rate_distortion_digits",
    }
    differences = pd.read_csv(tmp_path / "out" / "differences.csv")
    assert set(differences["setting"]) == {"latent_dim", "beta"} and set(differences["seeds"]) == {2}


def test_a_study_of_your_own_compares_sizes_at_the_first_beta_and_betas_at_the_last_size():
    words = shlex.split("study --dataset digits --latent_dim 2 8 --beta 1 4 16 --seeds 2 --epochs 7")
    studied = _comparisons(make_parser().parse_args(words))
    cells = {name: [(c.latent_dim, c.beta, c.seed) for c in found.configs] for name, found in studied.items()}
    assert cells == {
        "latent_size": [(2, 1, 0), (2, 1, 1), (8, 1, 0), (8, 1, 1)],
        "beta": [(8, 1, 0), (8, 1, 1), (8, 4, 0), (8, 4, 1), (8, 16, 0), (8, 16, 1)],
    }
    assert {c.epochs for found in studied.values() for c in found.configs} == {7}
    single = _comparisons(make_parser().parse_args(["study", "--dataset", "digits"]))
    assert [(c.latent_dim, c.seed) for c in single["beta"].configs] == [(16, 0), (16, 1), (16, 2)] and len(
        single
    ) == 1


@pytest.mark.slow
def test_a_study_of_a_folder_without_classes(tmp_path, run, rng):
    (tmp_path / "mine").mkdir()
    for i in range(60):
        pixels = rng.integers(0, 256, (12, 10, 3), dtype="uint8")
        Image.fromarray(pixels).save(tmp_path / "mine" / f"{i}.png")
    options = ["--latent_dim", "2", "3", "--seeds", "2", "--epochs", "1", "--batch_size", "16", "--jobs", "1"]
    places = ["--models_dir", tmp_path / "models", "--out", tmp_path / "out", "--data_dir", tmp_path / "data"]
    code, _, err = run("study", "--data", tmp_path / "mine", *options, *places, "--shard", "9/9")
    assert code == 0, err  # a part without a cell
    code, out, err = run("study", "--data", tmp_path / "mine", *options, *places)
    assert code == 0 and "4 runs of image folder mine" in out, err
    assert (tmp_path / "out" / "latent_size.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["study", "--shard", "4/3"], ["4/3", "I/N"]),
        (["study", "--beta", "1", "4"], ["beta", "--data"]),
        (["study", "--preset", "full", "--dataset", "mnist"], ["not allowed with"]),
        (["study", "--dataset", "digits", "--latent_dim", "0"], ["latent_dim", "0"]),
        (["study", "--data", "no/such/folder"], ["no/such/folder"]),
        (["sample", "run", "--seed", "-1"], ["-1", "from 0"]),
        (["sample", "run", "--seed", "3000000000"], ["3000000000", "from 0"]),
        (["study", "--preset", "huge"], ["huge", "full"]),
        (["study", "--jobs", "0"], ["jobs", "0"]),
        ([], ["COMMAND", "--help"]),
        (["paint"], ["paint", "train"]),
        (["train", "--latent_dim", "2.5"], ["latent_dim", "2.5"]),
        (["train", "--latent_dim", "0"], ["latent_dim", "0"]),
        (["train", "--latent_dim", "1000000000"], ["latent_dim", "4096"]),
        (["train", "--beta", "-1"], ["beta", "-1"]),
        (["train", "--beta", "nan"], ["beta", "nan"]),
        (["train", "--beta", "1e38"], ["beta", "1e+38", "from 0 to 1e+09"]),
        (["train", "--likelihood", "gauss"], ["likelihood", "gauss", "bernoulli"]),
        (["train", "--epochs", "0"], ["epochs", "0"]),
        (["train", "--threads", "-1"], ["threads", "-1"]),
        (["train", "--dataset", "digits", "--threads", "99999999999"], ["threads", "99999999999", "1024"]),
        (["train", "--data", "~nosuchuser/pictures"], ["~nosuchuser/pictures", "home"]),
        (["encode", "no-such-run"], ["no-such-run", "train"]),
        (["export", "no-such-run"], ["no-such-run", "train"]),
        (["export", "x", "--format", "pickle"], ["pickle", "saved_model", "litert"]),
        (["doctor"], ["SOURCE"]),
        (["doctor", "no-such-run"], ["no-such-run", "`runs`", ".csv", ".npz"]),
        (["doctor", "x" * 300], ["xxx", "no run and no file"]),
        (["doctor", __file__], ["test_cli.py", ".csv", ".npz"]),
        (["doctor", ROOT], ["config.json is missing", "no run"]),
        (["doctor", "x", "--loss", "huber"], ["huber", "bce"]),
        (["tune", "--dataset", "digits", "--trials", "0"], ["--trials", "received '0'"]),
        (["tune", "--dataset", "digits", "--seeds", "1"], ["--seeds", "from 2", "received '1'"]),
        (["tune", "--dataset", "digits", "--measure", "fid"], ["fid", "bits_per_dim"]),
        (["tune", "--dataset", "digits", "--vary", "depth=1:4"], ["depth", "latent_dim"]),
        (["tune", "--dataset", "digits", "--vary", "width"], ["NAME=LOW:HIGH", "width"]),
        (["tune", "--dataset", "digits", "--vary", "width=9:4"], ["width", "9:4", "LOW:HIGH"]),
        (["tune", "--dataset", "digits", "--likelihood", "bernoulli"], ["bits_per_dim", "--measure elbo"]),
        (["tune", "--dataset", "digits", "--batch_size", "5000"], ["batch_size", "1457"]),
        (["tune", "--data", "no/such/folder"], ["no/such/folder"]),
        (["tune", "--dataset", "digits", "--name", "a/b"], ["name", "a/b"]),
        (["tune", "--dataset", "digits", "--models_dir", f"{__file__}/x"], ["cannot write", "--models_dir"]),
        (["train", "--colour", "blue"], ["--colour"]),
        (["train", "--data", "no/such/folder"], ["no/such/folder"]),
        (["train", "--dataset", "nosuchset"], ["nosuchset", "fashion_mnist"]),
        (["train", "--dataset", "digits", "--data", "x"], ["not allowed with"]),
        (["train", "--dataset", "digits", "--batch_size", "5000"], ["batch_size", "1457"]),
        (["study", "--dataset", "digits", "--batch_size", "5000"], ["batch_size", "1457"]),
        (["study", "--preset", "quick", "--dry_run"], ["cifar10 is not available", "--stand_ins"]),
        (["train", "--image_size", "300"], ["image_size", "from 8 to 256"]),
        (["train", "--data", __file__], ["test_cli.py", "not read", "np.savez"]),
        (["evaluate", "no-such-run"], ["no-such-run", "train"]),
        (["train", "--data", ""], ["--data", "must not be empty"]),
        (["train", "--dataset", " "], ["--dataset", "must not be empty"]),
        (["train", "--dataset", "digits", "--models_dir", ""], ["--models_dir", "must not be empty"]),
        (["evaluate", ""], ["run: must not be empty"]),
        (["evaluate", "x" * 300], ["xxx", "no run directory"]),
        (["study", "--dataset", "digits", "--models_dir", f"{__file__}/x"], ["cannot write", "--models_dir"]),
        (["evaluate", "x", "--num_samples", "0"], ["num_samples", "0"]),
        (["sample", "x", "--temperature", "-1"], ["temperature", "-1"]),
        (["score", "x"], ["required", "--data"]),
        (["score", "x", "--data", ""], ["--data", "must not be empty"]),
        (["score", "no-such-run", "--data", "digits"], ["no-such-run", "train"]),
        (["score", SHOWN, "--data", "no/such/folder"], ["no/such/folder", "check the spelling"]),
        (["reconstruct", SHOWN, "--data", __file__], ["test_cli.py", "not read"]),
        (["reconstruct", "no-such-run", "--data", "digits"], ["no-such-run", "train"]),
        (["encode", "x", "--new"], ["--new needs --data"]),
        (["ood"], ["required", "RUN"]),
        (["ood", "no-such-run"], ["no-such-run", "train"]),
        (["ood", "x", "--num_images", "0"], ["num_images", "0"]),
        (["ood", "x", "--iwae", "-1"], ["iwae", "-1"]),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(arguments, words, run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert code == 2 and out == "" and err.count("\n") == 1 and all(word in err for word in words), err
    assert not list(tmp_path.iterdir())  # nothing was started


def test_doctor_examines_files_of_any_framework_together(run, tmp_path):
    history, arrays = tmp_path / "history.csv", tmp_path / "arrays.npz"
    history.write_text("epoch,loss,recon_loss,kld\n0,9,5,4\n1,7,3,nan\n")
    np.savez(arrays, x=np.full((4, 8), 255.0))
    code, out, err = run("doctor", history, arrays)
    assert (code, err) == (0, "") and out.count("FAULT") == 2
    assert (
        "x goes from 255 to 255" in out and "it began in epoch 1, in kld; the epoch before had loss 9" in out
    )
    code, out, err = run("doctor", history, arrays, "--json")
    assert [finding["name"] for finding in json.loads(out)["findings"]] == ["data range", "NaN"]
    code, out, err = run("doctor", history, history)
    assert code == 2 and out == "" and "two histories" in err


def test_doctor_examines_a_run_with_its_weights_and_says_where_the_images_are_missing(trained, run, tmp_path):
    models_dir, _, _ = trained
    code, out, err = run("doctor", run_in(models_dir).name, "--models_dir", models_dir)
    assert (code, err) == (0, "") and "prior and codes" in out.partition("checked: ")[2].partition("\n")[0]
    shutil.copytree(run_in(models_dir), tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["config"]["dataset"] = "./gone"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    code, out, err = run("doctor", tmp_path / "run")
    assert code == 0 and err.count("\n") == 1 and "only the history is examined" in err and "--data" in err
    assert "not checked: prior and codes (needs z_mean, z_log_var)" in out


@pytest.mark.slow
def test_export_writes_files_that_were_checked_against_the_model(trained, run, tmp_path, monkeypatch):
    models_dir, _, _ = trained
    words = ["export", run_in(models_dir), "--out", tmp_path / "out"]
    code, out, err = run(*words)
    kinds = ("_saved_model", ".onnx", ".tflite")
    names = {f"{part}{ending}" for part in ("encoder", "decoder") for ending in kinds}
    assert code == 0 and err == "" and {path.name for path in (tmp_path / "out").iterdir()} == names
    for line in out.splitlines():
        path, difference = re.fullmatch(r"(.*): differs from the model by at most (\S+) \w.*", line).groups()
        names.remove(os.path.basename(path))
        assert float(difference) <= (1 if "decoder" in path else 1e-4)
    assert not names
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    code, out, err = run(*words, "--format", "onnx", "--out", tmp_path / "other")
    assert code == 2 and out == "" and err.count("\n") == 1 and "pip install -e '.[export]'" in err
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_tune_prints_trials_verdict_and_the_command_that_trains_the_choice(run, tmp_path):
    words = [
        "tune",
        "--dataset",
        "digits",
        *QUICK,
        "--network",
        "mlp",
        "--prior",
        "normal",
        "--n_train",
        1024,
    ]
    words += ["--vary", "learning_rate=1e-6,0.01", "--trials", 3, "--seeds", 2, "--jobs", 1, "--name", "mine"]
    words += ["--models_dir", tmp_path / "models", "--out", tmp_path / "out"]
    code, out, err = run(*words)
    assert code == 0 and err == "" and re.search(r"^found", out, re.MULTILINE)
    assert {f"trial {number}:" for number in range(3)} <= set(re.findall(r"^trial \d:", out, re.MULTILINE))
    assert (tmp_path / "out" / "mine" / "trials.png").exists()
    command = re.search(r"^train it: python -m vae_lib (.*)$", out, re.MULTILINE)[1]
    code, again, _ = run(*words)  # finds all done
    assert code == 0 and again.splitlines()[0] == "3 of 3 trials have ended before"
    assert again.splitlines()[1:] == out.splitlines()[3:]
    options = make_parser().parse_args(shlex.split(command))
    assert (options.network, options.latent_dim, options.n_train, options.epochs) == ("mlp", 2, 1024, 1)
    code, _, err = run(*words, "--measure", "mse")
    assert code == 2 and err.count("\n") == 1 and "another --name" in err


def test_explorer_writes_one_page_and_refuses_another_kind_of_file_at_once(trained, run, tmp_path):
    models_dir, _, _ = trained
    words = ["explorer", run_in(models_dir), "--out"]
    code, out, err = run(*words, tmp_path / "page.html")
    assert code == 0 and err == "" and [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert out.startswith(f"{tmp_path / 'page.html'}: 0.") and "MB" in out
    code, out, err = run(*words, tmp_path / "folder")
    assert code == 2 and out == "" and err.count("\n") == 1 and "must end in .html; received" in err
    assert not (tmp_path / "folder").exists()


def test_compress_and_decompress_give_back_the_very_pixels_of_a_folder(
    trained, run, tmp_path, rng, monkeypatch
):
    models_dir, _, _ = trained
    run_directory, file, out = run_in(models_dir), tmp_path / "images.vae", tmp_path / "out"
    x = rng.integers(0, 256, (3, 8, 8), "uint8")
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    for name, pixels in zip(("a.png", "b.bmp", "sub/c.png"), x, strict=True):
        Image.fromarray(pixels).save(tmp_path / "folder" / name)
    words = ["compress", run_directory, "--data", tmp_path / "folder", "--out", file]
    code, told, err = run(*words)
    size = f"{file.stat().st_size:,} bytes"
    assert code == 0 and err == "" and told.startswith(f"3 images: {file}, {size}") and told.count("\n") == 1
    code, told, err = run("decompress", file, run_directory, "--out", out)
    assert code == 0 and err == "" and told == f"3 images: {out}\n"
    for name, pixels in zip(("a.png", "b.bmp.png", "sub/c.png"), x, strict=True):
        assert (np.asarray(Image.open(out / name)) == pixels).all()
    damaged = tmp_path / "damaged.vae"
    damaged.write_bytes(file.read_bytes()[:-1])
    for again, meant in (
        (words, "is there already"),
        (["decompress", file, run_directory, "--out", out], "is not empty"),
        (["decompress", damaged, run_directory, "--out", tmp_path / "new"], "truncated or damaged"),
        (["decompress", tmp_path / "none.vae", run_directory, "--out", tmp_path / "new"], "there is no file"),
        (["compress", run_directory, "--data", out / "sub", "--out", out], "is there already"),
        (["compress", run_directory, "--data", tmp_path / "none", "--out", tmp_path / "b.vae"], "none"),
    ):
        code, told, err = run(*again)
        assert code == 2 and told == "" and err.count("\n") == 1 and meant in err
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())
    monkeypatch.setitem(sys.modules, "constriction", None)  # as if it were not installed
    for again in (
        [*words[:-1], tmp_path / "c.vae"],
        ["decompress", file, run_directory, "--out", tmp_path / "d"],
    ):
        code, told, err = run(*again)
        assert code == 2 and told == "" and err.count("\n") == 1 and "pip install -e '.[codec]'" in err
    assert not (tmp_path / "c.vae").exists()


def test_images_that_changed_since_the_training_are_not_scored_as_test_images(tmp_path, run):
    rng, places = np.random.default_rng(0), ["--models_dir", tmp_path / "models"]
    for images in (rng.integers(0, 256, (80, 8, 8, 1), "uint8") for _ in range(2)):
        np.savez(tmp_path / "own.npz", x_train=images[:60], x_test=images[60:])
        if not (tmp_path / "models").exists():
            words = ["train", "--data", tmp_path / "own.npz", *QUICK, "--n_train", 40, "--batch_size", 20]
            assert run(*words, *places, "--name", "own")[0] == 0
    code, out, err = run("evaluate", "own", "--quick", "--out", tmp_path / "out", *places)
    assert code == 2 and out == "" and "not those that own was trained on" in err


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path, run):
    (tmp_path / "file").write_text("")
    code, _, err = run("train", "--dataset", "digits", *QUICK, "--models_dir", tmp_path / "file" / "models")
    assert code == 2 and "--models_dir" in err


def test_divergence_is_exit_code_1(tmp_path, run):
    options = ["--dataset", "digits", *QUICK, "--epochs", "2", "--learning_rate", "1e8", "--verbose", "0"]
    code, _, err = run("train", *options, "--likelihood", "bernoulli", "--models_dir", tmp_path)
    assert code == 1 and "lower learning_rate" in err and err.count("\n") == 1


def test_dash_and_underscore_are_the_same_and_values_are_left_alone():
    from vae_lib.cli.parser import underscored

    arguments = ["--batch-size=6-4", "--latent-dim", "my-run", "-h", "train"]
    expected = ["--batch_size=6-4", "--latent_dim", "my-run", "-h", "train"]
    assert [underscored(argument) for argument in arguments] == expected
    words = ["train", "--epochs", "50", "--batch_size", "64", "--latent_dim", "64", "--dataset", "mnist"]
    parsed = make_parser().parse_args(words)
    assert (parsed.epochs, parsed.batch_size, parsed.latent_dim) == (50, 64, 64)


@pytest.mark.parametrize("command", [module.__name__.rpartition(".")[2] for module in COMMANDS])
def test_help_describes_every_option_and_its_default(command, run):
    code, out, _ = run(command, "--help")
    assert code == 0 and "None" not in out and "SUPPRESS" not in out
    text = " ".join(out.split())
    for name, field in TrainConfig.__dataclass_fields__.items() if command == "train" else ():
        default = "" if field.default in (None, False) else f" [{field.default}]"
        assert f"{field.metadata['help']}{default}" in text and f"--{name} " in text


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["train", "--latent_dim", "x"]])
def test_help_and_wrong_arguments_answer_in_under_half_a_second(arguments):
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        run_alone(*arguments)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.5


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "RUN", "--dat", "x"),
        ("train", "--dataset", "digits", "--latent", "4"),
        ("sample", "RUN", "--num", "3"),
        ("study", "--pre", "smoke"),
    ],
)
def test_a_part_of_an_option_is_an_unknown_option(run, words):
    code, out, err = run(*words)
    assert code == 2 and out == "" and err.count("\n") == 1 and "unrecognized arguments" in err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("train --latentdim 4", "did you mean --latent_dim?"),
        ("train --learning-rte=1e-3", "did you mean --learning_rate?"),
        ("runs --rm x", "did you mean --remove?"),
        ("sample RUN --zzz", "arguments: --zzz (see vae_lib sample --help)"),
        ("evaluate RUN OTHER", "arguments: OTHER (see"),
    ],
)
def test_an_unknown_option_is_refused_with_the_one_that_it_resembles(run, words, meant):
    code, out, err = run(*words.split())
    assert code == 2 and out == "" and err.count("\n") == 1 and meant in err


def test_a_warning_that_arises_many_times_is_told_once(capfd):
    from vae_lib.metrics.disentanglement import sap

    rng = np.random.default_rng(0)
    factors = np.column_stack([rng.integers(0, 3, 40), rng.integers(0, 30, 40)])  # of 30 values, some once
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = telling_once()
        for seed in range(3):
            sap(factors + 0.1 * rng.standard_normal((40, 2)), factors, seed=seed)
    err = capfd.readouterr().err
    assert err == "vae_lib: warning: y_pred contains classes not in y_true\n"


def test_a_figure_that_these_images_do_not_allow_is_named(faces, run):
    words = [*QUICK[:2], "--latent_dim", 2, *QUICK[4:-2], "--batch_size", 16, "--verbose", 0, "--name", "few"]
    assert run("train", "--data", "faces", *words)[0] == 0
    code, out, _ = run("evaluate", "few", "--quick", "--num_samples", 2)
    assert code == 0 and "figure latent_space is left out: it needs 11 test images, and there are 4" in out


@pytest.fixture
def faces(tmp_path, rng, monkeypatch):
    """A folder of images in the working directory, and a run that was trained on it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for i in range(40):
        (tmp_path / "faces").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype="uint8")).save(tmp_path / "faces" / f"{i}.png")
    return tmp_path / "faces"


@pytest.mark.slow
def test_every_spelling_of_a_data_set_is_one_run(run, faces):
    words = [*QUICK[:-2], "--batch_size", 16, "--verbose", 0]
    for spelling in ("faces", "faces/", "./faces", faces, "~/faces"):
        assert run("train", "--data", spelling, *words)[0] == 0
    assert len([path for path in (faces.parent / "models").iterdir()]) == 1
    for spelling in ("digits", "Digits", "DIGITS"):
        assert run("train", "--dataset", spelling, *QUICK, "--verbose", 0)[0] == 0
    assert len([path for path in (faces.parent / "models").iterdir()]) == 2


def test_images_that_were_moved_are_found_with_data_and_proved_by_their_fingerprint(run, faces, rng):
    assert run("train", "--data", "faces", *QUICK[:-2], "--batch_size", 16, "--verbose", 0)[0] == 0
    name = run_in(faces.parent / "models").name
    faces.rename(faces.parent / "elsewhere")
    code, _, err = run("encode", name)
    assert code == 2 and err.count("\n") == 1 and "--data PATH" in err
    code, out, err = run("encode", name, "--data", "elsewhere")
    assert code == 0 and "codes of 33 train" in out, err
    Image.fromarray(rng.integers(0, 256, (8, 8), dtype="uint8")).save(faces.parent / "elsewhere" / "0.png")
    code, _, err = run("encode", name, "--data", "elsewhere")
    assert code == 2 and "are not those" in err and err.count("\n") == 1


def test_a_run_is_found_beside_a_folder_of_its_name(trained, run, tmp_path, monkeypatch):
    models_dir, _, _ = trained
    monkeypatch.chdir(tmp_path)
    (tmp_path / run_in(models_dir).name).mkdir()
    code, _, err = run("sample", run_in(models_dir).name, "--models_dir", models_dir, "--num_samples", 1)
    assert code == 0, err


@pytest.fixture
def models(trained, tmp_path):
    """A folder of three runs: a finished one, one of more epochs that was interrupted, one that diverged."""
    first = run_in(trained[0])
    for name in ("finished", "unfinished", "diverged"):
        shutil.copytree(first, tmp_path / "models" / name)
    (tmp_path / "models" / "unfinished" / "metrics.json").unlink()
    (tmp_path / "models" / "diverged" / "metrics.json").write_text('{"status": "diverged", "epoch": 1}')
    (tmp_path / "models" / "classifier-digits" / "notes").mkdir(parents=True)
    return tmp_path / "models"


def test_runs_are_listed_with_state_data_options_epochs_and_score(models, run):
    bits = json.loads((models / "finished" / "metrics.json").read_text())["bits_per_dim_test"]
    code, out, err = run("runs", "--models_dir", models)
    assert (code, err) == (0, "") and f"{models}: 3 runs, " in out
    assert f"finished: finished, {bits:.3f} bits/dim on test, 1 of 1 epochs" in out
    assert "digits (embedded digits (scikit-learn)); 2 latents, beta 1, conv; 20" in out
    assert "unfinished: unfinished, 0 of 1 epochs" in out and "diverged: diverged, 0 of 1 epochs" in out
    with lock_run(models / "unfinished"):
        assert "unfinished: being trained, 0 of 1" in run("runs", "unfinished", "--models_dir", models)[1]
    weights = models / "finished" / "model.keras"
    weights.write_bytes(weights.read_bytes()[:-100])
    (models / "diverged" / "config.json").write_text("{")
    damaged = run("runs", "--models_dir", models)[1]
    assert "finished: damaged: " in damaged and "diverged: damaged: " in damaged
    assert f"3 more: --models_dir {models}" in run("runs", "--models_dir", models.parent)[1]


def test_a_config_in_which_values_are_missing_is_damaged(models, run):
    config = models / "finished" / "config.json"
    whole = json.loads(config.read_text())
    for changed in ({**whole, "data": {}}, {**whole, "config": 3}, {"config": {}}):
        config.write_text(json.dumps(changed))
        code, out, err = run("evaluate", models / "finished", "--quick")
        assert (code, out) == (2, "") and err.count("\n") == 1 and "config.json is damaged" in err
    config.write_text(json.dumps({**whole, "config": {**whole["config"], "latent_dim": -3}}))
    err = run("evaluate", models / "finished", "--quick")[2]
    assert "latent_dim must be" in err and "moved" not in err
    assert "finished: damaged" in run("runs", "--models_dir", models)[1]


def test_a_run_is_removed_with_its_files_alone(models, run):
    (models / "diverged" / "notes.txt").write_text("mine")
    words = ["runs", "--models_dir", models, "--remove"]
    code, out, err = run(*words, models / "finished", "diverged")
    assert (code, err) == (0, "") and not (models / "finished").exists(), err
    assert f"removed run: {models / 'diverged'}; its folder stays, with notes.txt" in out
    assert [path.name for path in (models / "diverged").iterdir()] == ["notes.txt"]
    before = sorted(models.parent.rglob("*"))
    (models.parent / "elsewhere").symlink_to(models / "unfinished")
    (models / "link").symlink_to(models / "unfinished")
    for wrong in ("", ".", "..", "../elsewhere", "classifier-digits", "diverged", "x" * 300):
        code, out, err = run(*words, "unfinished", wrong)
        assert (code, out) == (2, "") and "there is no run" in err and err.count("\n") == 1
    assert "is a link to" in run(*words, "link")[2]
    with lock_run(models / "unfinished"):
        code, out, err = run(*words, "unfinished")
        assert (code, out) == (2, "") and "is being trained by process" in err
    assert run(*words)[0] == 2  # which one?
    assert set(before) <= set(models.parent.rglob("*"))


@pytest.mark.slow
def test_more_epochs_than_a_finished_run_has_start_from_the_beginning_and_say_so(trained, run, tmp_path):
    first = run_in(trained[0])
    shutil.copytree(first, tmp_path / first.name)
    words = ["train", "--dataset", "digits", *QUICK, "--verbose", 2, "--models_dir", tmp_path]
    code, out, _ = run(*words, "--epochs", 2)
    assert code == 0 and out.count(f"{first.name} differs in its epochs alone (1)") == 1
    assert "differs" not in run(*words, "--epochs", 2, "--seed", 1)[1]


def test_a_reader_of_the_output_who_leaves_gets_no_error():
    command = f"{sys.executable} -m vae_lib runs --models_dir models/study | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.count("\n") == 1 and done.stderr == ""


@pytest.mark.slow
def test_a_file_or_an_ascii_terminal_gets_lines_it_can_hold(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "KERAS_BACKEND": "torch", "HOME": str(tmp_path)}
    (tmp_path / ".keras").mkdir()
    settings = {"backend": "jax", "image_data_format": "channels_first", "floatx": "float16"}
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "vae_lib", "train", "--dataset", "digits", *QUICK]
    command += ["--models_dir", str(tmp_path / "models")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0 and "\b" not in done.stdout and len(done.stdout) < 3000, done.stderr
