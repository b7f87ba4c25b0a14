"""Run directories: what is loaded from one is checked, and nothing found there is ever run or lost."""

import io
import json
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest

from vae_lib.cli import main
from vae_lib.config import TrainConfig
from vae_lib.training.run import check_run_name, load_run
from vae_lib.training.trainer import train
from vae_lib.utils.errors import InputError

CONFIG = TrainConfig(dataset="digits", latent_dim=2, epochs=1, batch_size=256, width=4, dense_units=16)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digits):
    return train(CONFIG, digits, models_dir=tmp_path_factory.mktemp("models"), verbose=0)


@pytest.fixture
def weights(finished):
    """The path of the run's `model.keras`, whose hash is not on record; both are put back after the test."""
    path, record = finished.directory / "model.keras", finished.directory / "record.json"
    content, recorded = path.read_bytes(), record.read_text()
    record.write_text(json.dumps({**json.loads(recorded), "weights_sha256": None}))
    yield path
    path.write_bytes(content)
    record.write_text(recorded)


def refused(arguments, capfd):
    """Run the command line; return the one line it must answer a bad input with."""
    capfd.readouterr()
    assert main(list(map(str, arguments))) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("vae_lib: error: "), err
    return err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "model.keras is missing"),
        (lambda path: path.write_bytes(b""), "model.keras is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "model.keras is truncated"),
        (lambda path: path.write_bytes(b"weights"), "model.keras is truncated or no .keras file"),
    ],
)
def test_missing_empty_and_truncated_weights_have_a_message_each(
    finished, weights, damage, message, tmp_path, capfd
):
    damage(weights)
    before = {path: path.read_bytes() for path in finished.directory.iterdir()}
    err = refused(["evaluate", finished.directory, "--quick", "--out", tmp_path], capfd)
    assert message in err and "--fresh" in err
    assert before == {path: path.read_bytes() for path in finished.directory.iterdir()}
    assert not [path for path in tmp_path.iterdir() if path.name != ".probe"]


def rewritten(path, change):
    """Write the archive again with every member passed through `change(name, content)`."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))


def test_a_flipped_bit_in_the_weights_is_noticed(finished, weights):
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError, match="does not hold this model's weights"):
        load_run(finished.directory).model()


def test_weights_that_would_fit_but_are_not_those_on_record_are_refused(finished, digits, tmp_path):
    twin = train(TrainConfig(**{**CONFIG.to_dict(), "seed": 1}), digits, models_dir=tmp_path, verbose=0)
    assert finished.model() and twin.model()
    shutil.copy(finished.directory / "model.keras", twin.directory)
    with pytest.raises(InputError, match="its SHA-256 is not the one"):
        load_run(twin.directory).model()


def test_weights_of_another_model_are_refused(finished, weights, digits, tmp_path):
    other = train(
        TrainConfig(**{**CONFIG.to_dict(), "latent_dim": 3}), digits, models_dir=tmp_path, verbose=0
    )
    weights.write_bytes((other.directory / "model.keras").read_bytes())
    with pytest.raises(InputError, match="does not hold this model's weights"):
        load_run(finished.directory).model()


def test_a_lambda_layer_in_a_file_of_weights_never_runs(finished, weights, tmp_path):
    trace = tmp_path / "it-ran"
    inputs = keras.Input((2,))
    outputs = keras.layers.Lambda(
        lambda x, path=str(trace): (open(path, "w").close(), x)[1], output_shape=(2,)
    )(inputs)
    model = keras.Model(inputs, outputs)
    trace.unlink(missing_ok=True)  # building it here runs it
    model.save(weights)
    with pytest.raises(InputError, match=r"it is of class .* not VAE"):
        load_run(finished.directory).model()
    assert not trace.exists()


@pytest.mark.parametrize(
    "hostile",
    [
        {"module": "os", "class_name": "system", "config": {"command": "true"}, "registered_name": None},
        {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "function"},
        ["no", "object"],
    ],
)
def test_a_file_that_names_another_class_is_refused_though_its_weights_would_fit(finished, weights, hostile):
    rewritten(
        weights, lambda name, content: json.dumps(hostile).encode() if name == "config.json" else content
    )
    with pytest.raises(InputError, match=r"it is of class .* not VAE"):
        load_run(finished.directory).model()


def test_weights_that_point_to_a_file_outside_are_refused(finished, weights, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(np.ones(10_000, "float32").tobytes())

    def outside(name, content):
        if name != "model.weights.h5":
            return content
        buffer = io.BytesIO(content)
        with h5py.File(buffer, "r+") as file:
            names = []
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            for name in names:
                shape, dtype = file[name].shape, file[name].dtype
                if dtype == np.float32 and shape:
                    del file[name]
                    file.create_dataset(name, shape, dtype, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
        return buffer.getvalue()

    rewritten(weights, outside)
    with pytest.raises(InputError, match="does not hold this model's weights"):
        load_run(finished.directory).model()


@pytest.mark.parametrize(
    "name", ["../out", "a/b", "a\\b", "a\nb", " a", "a ", "", ".", "..", ".hidden", "a" * 200, "a\0b", "/abs"]
)
def test_names_that_lead_out_of_the_folder_are_refused(name, tmp_path, capfd):
    with pytest.raises(InputError, match="name must be"):
        check_run_name(name)
    if "\0" not in name:
        words = ["train", "--dataset", "digits", f"--name={name}", "--models_dir", tmp_path / "models"]
        assert "name must be" in refused(words, capfd)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["my run", "Läufe", "実行", "v1.2,beta=4"])
def test_spaces_and_letters_of_every_language_make_a_run_inside_the_folder(name, digits, tmp_path):
    run = train(CONFIG, digits, models_dir=tmp_path, name=name, verbose=0)
    assert [path.name for path in tmp_path.iterdir()] == [name] and load_run(tmp_path / name).name == run.name


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "history.csv"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_damaged_descriptions_are_reported_by_name(finished, name, content, tmp_path, capfd):
    path = finished.directory / name
    kept = path.read_bytes()
    path.write_bytes(content)
    try:
        err = refused(["evaluate", finished.directory, "--quick", "--out", tmp_path], capfd)
    finally:
        path.write_bytes(kept)
    assert name in err and "--fresh" in err
