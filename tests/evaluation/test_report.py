from types import SimpleNamespace

import numpy as np
import pytest

from vae_lib.config import EvaluationConfig, TrainConfig
from vae_lib.evaluation.context import EvaluationContext
from vae_lib.evaluation.report import _pairs, write_codes
from vae_lib.training.trainer import train


@pytest.mark.parametrize("num_classes", [0, 10])
def test_a_conditional_model_gets_pairs_of_one_class_and_its_label(digits, num_classes):
    vae = SimpleNamespace(num_classes=num_classes, as_observed=lambda x: x)
    first, second, y = _pairs(EvaluationContext(vae, digits, None, EvaluationConfig()), 6)
    np.testing.assert_array_equal(first, digits.x_test[:6])
    if not num_classes:
        assert y is None
        np.testing.assert_array_equal(second, digits.x_test[6:12])
        return
    places = [np.flatnonzero((digits.x_test == image).all(axis=(1, 2, 3)))[0] for image in second]
    np.testing.assert_array_equal(digits.y_test[places], y)
    np.testing.assert_array_equal(digits.y_test[:6], y)


@pytest.mark.slow
def test_codes_are_of_the_images_that_the_run_was_trained_on(digits, tmp_path):
    sizes = {"width": 4, "dense_units": 16, "latent_dim": 2, "epochs": 1, "n_train": 100}
    run = train(TrainConfig(dataset="digits", **sizes), digits, models_dir=tmp_path, verbose=0)
    assert write_codes(run, digits, tmp_path / "codes") == "100 train, 161 val, 179 test"
    assert len(np.load(tmp_path / "codes" / "codes.npz")["z_mean_train"]) == 100
