"""Oracles: handwriting is read, scrambled labels are chance, a cached classifier is the one trained."""

import dataclasses
import logging

import numpy as np
import pytest

from vae_lib.data.loading import load_dataset
from vae_lib.evaluation import classifier as module
from vae_lib.evaluation.classifier import Classifier, ClassifierConfig, load_classifier, train_classifier
from vae_lib.utils.errors import InputError

BRIEF = ClassifierConfig(min_steps=150, epochs=1, width=16)


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    models_dir = tmp_path_factory.mktemp("models")
    return load_classifier(digits, models_dir, BRIEF), models_dir


def test_it_reads_handwriting_it_has_not_seen(trained, digits):
    classifier, _ = trained
    assert classifier.accuracy > 0.9 and classifier.accuracy == classifier.score(digits.x_test, digits.y_test)
    assert classifier.score(digits.x_val, digits.y_val) > 0.9
    assert classifier.predict(digits.x_test).shape == digits.y_test.shape


def test_on_scrambled_labels_it_is_at_chance(digits, rng):
    scrambled = {f"y_{part}": rng.permutation(getattr(digits, f"y_{part}")) for part in ("train", "test")}
    config = dataclasses.replace(BRIEF, min_steps=60)
    assert train_classifier(dataclasses.replace(digits, **scrambled), config).accuracy < 0.25


def test_features_come_before_the_labels_and_no_image_lies_far_outside(trained, digits, rng):
    classifier, _ = trained
    noise = rng.integers(0, 256, digits.x_test.shape, dtype="uint8")
    for x in (digits.x_test, noise):
        features = classifier.features(x)
        assert features.shape == (len(x), 64)
        np.testing.assert_allclose(features.mean(axis=1), 0.0, atol=1e-4)
        np.testing.assert_allclose(features.var(axis=1), 1.0, atol=0.01)
    kernel, bias = classifier.network.layers[-1].get_weights()
    logits = classifier.features(digits.x_test) @ kernel + bias
    np.testing.assert_array_equal(logits.argmax(axis=1), classifier.predict(digits.x_test))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(digits):
    config = dataclasses.replace(BRIEF, min_steps=20, max_steps=20, width=4)
    one, two = (train_classifier(digits, config).features(digits.x_test) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    other = train_classifier(digits, dataclasses.replace(config, seed=1)).features(digits.x_test)
    assert not np.allclose(one, other, atol=0.1)


def test_a_cached_classifier_is_loaded_and_not_trained_again(trained, digits, monkeypatch):
    classifier, models_dir = trained
    (directory,) = models_dir.iterdir()
    assert directory.name.startswith("classifier-digits-")
    monkeypatch.setattr(module, "train_classifier", None)
    again = load_classifier(digits, models_dir, BRIEF)
    np.testing.assert_array_equal(again.features(digits.x_test), classifier.features(digits.x_test))
    assert (again.accuracy, again.seconds) == (
        classifier.accuracy,
        pytest.approx(classifier.seconds, abs=0.01),
    )


def test_a_damaged_cache_is_made_again_with_a_warning(digits, tmp_path, caplog):
    config = dataclasses.replace(BRIEF, min_steps=5, max_steps=5, width=4)
    whole = load_classifier(digits, tmp_path, config).features(digits.x_test)
    (weights,) = tmp_path.glob("*/classifier.keras")
    weights.write_bytes(b"not a Keras archive")
    with caplog.at_level(logging.WARNING):
        retrained = load_classifier(digits, tmp_path, config).features(digits.x_test)
    assert "again" in caplog.text
    np.testing.assert_array_equal(retrained, whole)
    weights.write_bytes(b"")
    assert module._read(weights.parent, digits, config) is None


def test_other_data_and_other_configs_have_other_places(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_train_and_write", lambda *_: True)
    load_classifier(digits, tmp_path, BRIEF)
    load_classifier(digits.subset(n_train=500), tmp_path, BRIEF)
    load_classifier(digits, tmp_path, dataclasses.replace(BRIEF, seed=5))
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 33, 3), (128, 128, 4), (128, 8, 2)])
def test_images_of_any_size_have_features(shape, rng):
    classifier = Classifier(shape, 3, ClassifierConfig(width=4))
    assert classifier.features(rng.integers(0, 256, (5, *shape), dtype="uint8")).shape == (5, 64)


def test_shifts_move_the_image_by_at_most_a_twelfth_and_repeat_its_edge(rng):
    x = rng.integers(0, 256, (200, 24, 12, 3), dtype="uint8")
    padded = np.pad(x, ((0, 0), (2, 2), (1, 1), (0, 0)), mode="edge")
    shifted = module._shifted(x, rng)
    seen = set()
    for image, wide in zip(shifted, padded, strict=True):
        places = [(i, j) for i in range(5) for j in range(3) if (wide[i : i + 24, j : j + 12] == image).all()]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 15


def test_without_labels_or_with_one_class_it_says_so(digits, tmp_path):
    blank = dataclasses.replace(digits, y_train=None, y_val=None, y_test=None, class_names=())
    alike = dataclasses.replace(digits, y_train=np.zeros_like(digits.y_train))
    for data, words in ((blank, "no labels"), (alike, "one class only")):
        with pytest.raises(InputError, match=words):
            load_classifier(data, tmp_path)
    assert not list(tmp_path.iterdir())


def test_images_of_another_shape_are_refused(trained):
    with pytest.raises(ValueError, match=r"8, 8, 1.*float64"):
        trained[0].predict(np.zeros((2, 8, 8, 1)))


def test_a_place_that_cannot_be_written_is_named(digits, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--models_dir"):
        load_classifier(digits, tmp_path / "file", BRIEF)


def test_steps_are_epochs_within_bounds():
    config = ClassifierConfig(epochs=8, batch_size=100, min_steps=50, max_epochs=20, max_steps=900)
    assert [config.total_steps(n) for n in (10, 300, 1001, 10**6)] == [20, 50, 88, 900]


@pytest.mark.real_data
@pytest.mark.slow
def test_a_brief_training_reads_88_percent_of_fashion_mnist():
    data = load_dataset("fashion_mnist", download=False).subset(n_train=25_600)
    assert train_classifier(data, ClassifierConfig(max_steps=800)).accuracy > 0.88
