"""One planted fault for each line of the diagnosis, in plain Keras; and healthy trainings, which get none."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops

import vae_lib as vl
from tests.support.plain_vae import bce_sum, kl_sum, train_plain
from tools.execute_notebook import ROOT
from vae_lib.apps.diagnosis.examination import CHECKS
from vae_lib.apps.diagnosis.findings import first_faults
from vae_lib.utils.errors import InputError

Adam = keras.optimizers.Adam
COMMITTED = sorted(path.parent for path in (ROOT / "models").glob("*/*/history.csv"))


@pytest.fixture(scope="module")
def images(digits):
    """Training and test images of the digits, float32 (n, 64) in [0, 1]."""
    return tuple(
        (np.asarray(x).reshape(len(x), -1) / 255).astype("float32") for x in (digits.x_train, digits.x_test)
    )


def bce_mean(x, decoded):
    return ops.mean(keras.losses.binary_crossentropy(x, decoded))


def bce_of_logits(x, logits):
    return ops.mean(ops.sum(ops.softplus(logits) - x * logits, axis=1))


def mse_sum(x, decoded):
    return ops.mean(ops.sum(ops.square(x - decoded), axis=1))


def mse_of_a_tenth(x, decoded):
    """The Gaussian likelihood with a standard deviation of 0.1, without its constant."""
    return 50 * mse_sum(x, decoded)


def on_channels(x, decoded):
    """What keras.losses does with images of three channels: it averages over them."""
    shape = (-1, x.shape[1] // 3, 3)
    return ops.mean(
        ops.sum(keras.losses.binary_crossentropy(ops.reshape(x, shape), ops.reshape(decoded, shape)), axis=1)
    )


def only_means(z_mean, z_log_var):
    return ops.mean(ops.sum(0.5 * ops.square(z_mean), axis=1))


def kl_mean(z_mean, z_log_var):
    return kl_sum(z_mean, z_log_var) / z_mean.shape[1]


def sum_over_batch(loss):
    return lambda *arguments: loss(*arguments) * ops.cast(ops.shape(arguments[0])[0], "float32")


def few(x):
    return x[:60]


def rgb(x):
    """Three channels of one image each, (n, 192), channels last."""
    return np.stack([x, x**2, 1 - x], axis=-1).reshape(len(x), -1)


# Name -> the faults to be found, the options of the training, what is done to the images, of `diagnose`.
# A fault that the planted one brings about may stand beside it, and is listed too.
PLANTED = {
    "mean over pixels": ({"true beta", "posterior collapse"}, {"reconstruction_loss": bce_mean}, {}),
    "channels averaged": ({"true beta"}, {"reconstruction_loss": on_channels, "of": rgb, "epochs": 20}, {}),
    "KL averaged over latents": ({"true beta"}, {"kl_loss": kl_mean}, {}),
    "batch summed": (
        {"true beta", "prior and codes"},
        {"reconstruction_loss": sum_over_batch(bce_sum), "batch_size": 48},
        {"batch_size": 48},
    ),
    "beta that the loss leaves out": ({"true beta"}, {"beta": lambda _: 0.1}, {"beta": 1.0}),
    "KL subtracted": ({"sign of the KL", "prior and codes"}, {"sign": -1.0, "epochs": 2}, {}),
    "missing half": ({"formula of the KL"}, {"kl_loss": lambda *codes: 2 * kl_sum(*codes)}, {}),
    "half of the terms": (
        {"formula of the KL", "prior and codes", "posterior collapse"},
        {"kl_loss": only_means},
        {},
    ),
    "beta too high": ({"posterior collapse"}, {"beta": lambda _: 20.0}, {}),
    "pixels to 255": ({"data range", "NaN"}, {"of": lambda x: 255 * x}, {}),
    "pixels from -1": (
        {"data range", "prior and codes"},
        {"of": lambda x: 2 * x - 1, "reconstruction_loss": mse_of_a_tenth},
        {},
    ),
    "sigmoid twice": (
        {"sigmoid twice"},
        {"reconstruction_loss": bce_of_logits},
        {},
    ),
    "no sigmoid": ({"no sigmoid"}, {"activation": "linear"}, {}),
    "logits shown": (
        {"logits taken for probabilities"},
        {"activation": "linear", "reconstruction_loss": bce_of_logits},
        {},
    ),
    "NaN": ({"NaN"}, {"optimizer": lambda: Adam(1.0), "epochs": 3}, {}),
    "overfitting": (
        {"overfitting"},
        {
            "of": few,
            "beta": lambda _: 0.1,
            "epochs": 80,
            "units": 512,
            "optimizer": lambda: Adam(1e-2),
            "batch_size": 20,
        },
        {"beta": 0.1},
    ),
    "learning rate": ({"learning rate", "prior and codes"}, {"optimizer": lambda: Adam(0.3)}, {}),
    "prior": ({"prior and codes"}, {"beta": lambda _: 0.001}, {"beta": 0.001}),
    "annealing": ({"annealing"}, {"beta": lambda epoch: epoch / 40}, {"beta": 1.0}),
}
HEALTHY = {
    "cross-entropy": ({}, {}),
    "binarised": ({"of": lambda x: (x > 0.5).astype("float32")}, {}),
    "squared error": ({"reconstruction_loss": mse_of_a_tenth, "activation": "linear"}, {}),
    "range of tanh": (
        {
            "reconstruction_loss": mse_of_a_tenth,
            "activation": "tanh",
            "of": lambda x: 2 * x - 1,
            "epochs": 30,
            "optimizer": lambda: Adam(1e-2),
        },
        {},
    ),
    "colour": ({"of": rgb}, {}),
    "beta 4": ({"beta": lambda _: 0.25}, {"beta": 0.25}),
    "annealed": ({"beta": lambda epoch: min(1.0, epoch / 4)}, {"beta": 1.0}),
    "twelve latents": ({"latents": 12, "optimizer": lambda: Adam(1e-2)}, {}),
    "SGD": ({"optimizer": lambda: keras.optimizers.SGD(0.02)}, {}),
    "both terms summed over the batch": (
        {
            "reconstruction_loss": sum_over_batch(bce_sum),
            "kl_loss": sum_over_batch(kl_sum),
            "batch_size": 48,
        },
        {"batch_size": 48},
    ),
}


def trained(images, of=lambda x: x, optimizer=lambda: None, **options):
    held_out = images[1] if of is few else of(images[1])
    return train_plain(of(images[0]), held_out, optimizer=optimizer(), **options)


def examined(images, options, known):
    plain = trained(images, **options)
    if options.get("of") is rgb:
        shape = (len(plain.arrays["x"]), 8, 8, 3)
        plain.arrays |= {name: plain.arrays[name].reshape(shape) for name in ("x", "reconstruction")}
    return vl.diagnose(plain.history, plain.arrays, **known)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_named_with_what_it_brings_about_and_nothing_else(name, images):
    expected, options, known = PLANTED[name]
    diagnosis = examined(images, options, known)
    assert {fault.name for fault in diagnosis.faults} == expected, str(diagnosis)
    assert all(fault.evidence and fault.remedy for fault in diagnosis.faults)


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_training_gets_no_fault(name, images):
    diagnosis = examined(images, *HEALTHY[name])
    assert not diagnosis.faults, str(diagnosis)
    assert len(diagnosis.checked) >= len(CHECKS) - 1


# Two findings that are true: its training loss jumped in epochs 9 and 11 by as much as all training brought,
# and the codes of its latent 0 have a mean of 1.8 and a variance of 5.7.
FAULTY = {"cifar10-z2": ["learning rate"]}


def test_no_false_alarm_over_the_histories_of_the_committed_runs():
    assert len(COMMITTED) >= 188
    found = {path.name: [fault.name for fault in vl.diagnose(path).faults] for path in COMMITTED}
    assert {name: faults for name, faults in found.items() if faults} == FAULTY


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize(
    "name", ["fashion_mnist-z2", "fashion_mnist-conditional", "fashion_mnist-hierarchical"]
)
def test_no_false_alarm_over_committed_weights(name):
    run = vl.load_run(ROOT / "models" / "showcase" / name)
    diagnosis = vl.diagnose(run, data=vl.load_dataset("fashion_mnist"))
    assert not diagnosis.faults and {"posterior collapse", "data range"} <= set(diagnosis.checked)


def test_a_run_is_examined_with_its_weights_and_without_and_when_it_diverged(digits, tmp_path):
    sizes = {"latent_dim": 2, "width": 4, "dense_units": 16, "epochs": 2, "batch_size": 256}
    run = vl.train(vl.TrainConfig("digits", **sizes), digits, models_dir=tmp_path, verbose=0)
    alone, whole = vl.diagnose(run), vl.diagnose(run, data=digits)
    assert set(whole.checked) > set(alone.checked) and "prior and codes" in alone.not_checked
    wild = vl.TrainConfig("digits", **sizes, learning_rate=1e9)
    with pytest.raises(vl.utils.errors.DivergenceError):
        vl.train(wild, digits, models_dir=tmp_path, verbose=0, name="wild")
    (fault,) = [f for f in vl.diagnose(tmp_path / "wild").faults if f.name == "NaN"]
    assert "in epoch 1" in fault.evidence


def test_what_could_not_be_checked_is_said_with_what_it_needs():
    diagnosis = vl.diagnose({"loss": [3.0, 2.0, 1.0], "val_loss": [3.0, 2.0, 1.0]})
    assert set(diagnosis.checked) == {"NaN", "learning rate", "overfitting"}
    assert {*diagnosis.checked, *diagnosis.not_checked} == {check.check_name for check in CHECKS}
    assert diagnosis.not_checked["prior and codes"] == "z_mean, z_log_var"
    assert "not checked: prior and codes (needs z_mean, z_log_var)" in str(diagnosis)
    assert json.loads(json.dumps(diagnosis.to_dict()))["not_checked"] == diagnosis.not_checked


@pytest.mark.parametrize(
    ("sources", "options", "words"),
    [
        ((), {}, "nothing to examine"),
        ((3,), {}, "cannot examine int"),
        (("no-such.csv",), {}, "no file 'no-such.csv'"),
        (({"loss": [1.0]}, {"loss": [1.0]}), {}, "two histories"),
        (({"loss": [1.0]},), {"loss": "huber"}, "one of bce, mse, l1, other; received 'huber'"),
        (({"loss": [1.0]},), {"beta": -1}, "beta must be .* received -1"),
        (({"loss": [1.0]},), {"batch_size": 0}, "batch_size must be .* received 0"),
    ],
)
def test_bad_arguments_are_refused(sources, options, words):
    with pytest.raises(InputError, match=words):
        vl.diagnose(*sources, **options)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "model.keras").write_text("")
    with pytest.raises(InputError, match=r"history as \.csv or arrays as \.npz"):
        vl.diagnose(tmp_path / "model.keras")


def test_a_history_as_a_table_or_of_keras_is_read_as_one_of_lists():
    columns = {"loss": [3.0, np.nan], "kl": [1.0, 1.0]}
    of_keras = keras.callbacks.History()
    of_keras.history = columns
    for history in (columns, pd.DataFrame(columns), of_keras):
        (fault,) = vl.diagnose(history).faults
        assert fault.name == "NaN" and "epoch 2, in loss; the epoch before had loss 3" in fault.evidence


def test_trainings_side_by_side_have_all_their_faults_and_the_evidence_of_the_first():
    histories = {"well": {"loss": [3.0, 2.0]}, "badly": {"loss": [3.0, np.nan], "kl": [-2.0, -3.0]}}
    found = {name: vl.diagnose(history) for name, history in histories.items()}
    table = first_faults(found)
    assert table.loc["well"].tolist() == ["none", "", ""]
    first, second = found["badly"].faults
    assert table.loc["badly"].tolist() == [f"{first.name}, {second.name}", first.evidence, first.remedy]


def test_a_kl_that_is_subtracted_is_named_before_the_nan_that_it_ends_in():
    history = {"loss": [-5.0, np.nan], "reconstruction_loss": [3.0, 3.0], "kl_loss": [-8.0, np.nan]}
    assert [fault.name for fault in vl.diagnose(history).faults] == ["sign of the KL", "NaN"]
