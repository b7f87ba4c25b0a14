"""Oracles: a model that knows nothing reads chance, floor and zero; one that gives real images, as real."""

import dataclasses
import json

import numpy as np
import pytest

from vae_lib.data.loading import load_dataset
from vae_lib.evaluation.classifier import ClassifierConfig, train_classifier
from vae_lib.evaluation.metric_table import MEASURES, MeasureTable, as_text, records
from vae_lib.evaluation.samples import FLOOR, within_class_diversity
from vae_lib.evaluation.scorecard import EvaluationConfig, scorecard
from vae_lib.metrics import sample_quality
from vae_lib.models.vae import VAE
from vae_lib.training.scores import NOISE_SEED, mean_elbo_terms

BRIEF = EvaluationConfig(
    seeds=(0, 1), n_samples=80, n_iwae=40, iwae_k=10, n_codes=400, n_pairs=150, n_tsne=80
)
PRIOR, DRAWS = "decoder means, N(0, I)", "draws from p(x|z), N(0, I)"


def small_vae(**options):
    return VAE((8, 8, 1), **{"latent_dim": 3, "width": 4, "dense_units": 16, **options})


def collapsed(vae):
    """Make every posterior the prior, and the decoder deaf to z."""
    for name in ("z_mean", "z_log_var"):
        layer = vae.encoder.get_layer(name)
        layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    kernel = next(v for v in vae.decoder.trainable_variables if v.shape[0] == vae.latent_dim)
    kernel.assign(np.zeros(kernel.shape))
    return vae


def value(table, measure, of, n=None):
    rows = table[(table["measure"] == measure) & (table["of"] == of)]
    if n is not None:
        rows = rows[rows["n"] == n]
    assert len(rows), f"{measure} of {of} is not in the table"
    return rows["value"].iloc[0]


def left_out(table):
    rows = table[table["value"].isna()]
    return {
        name: note
        for names, note in zip(rows["measure"], rows["note"], strict=True)
        for name in names.split(", ")
    }


@pytest.fixture(scope="module")
def classifier(digits):
    return train_classifier(digits, ClassifierConfig(min_steps=150, epochs=1, width=16))


@pytest.fixture(scope="module")
def untrained(digits, classifier):
    return scorecard(small_vae(), digits, classifier, BRIEF)


@pytest.fixture(scope="module")
def dead(digits, classifier):
    return scorecard(collapsed(small_vae()), digits, classifier, BRIEF)


def test_real_images_lie_nearer_to_real_ones_than_noise_does(digits, classifier, rng):
    a, b = (classifier.features(x) for x in (digits.x_test[:80], digits.x_test[80:160]))
    noise = classifier.features(rng.integers(0, 256, (80, 8, 8, 1), dtype="uint8"))
    assert sample_quality.frechet_distance(a, b) < 0.5 * sample_quality.frechet_distance(a, noise)


# --- Models that know nothing


def test_an_untrained_model_reads_far_from_real_and_at_chance(untrained):
    floor, of_model = (value(untrained, "frechet_distance", of, 80) for of in (FLOOR, PRIOR))
    assert of_model > 3 * floor
    # Its means are nearly one image: their precision is that of one point, near to some real image or not.
    assert value(untrained, "recall", PRIOR) < 0.05 and value(untrained, "recall", FLOOR) > 0.7
    assert value(untrained, "precision", FLOOR) > 0.7
    assert value(untrained, "kernel_distance", PRIOR) > 10 * abs(value(untrained, "kernel_distance", FLOOR))
    assert value(untrained, "classifier_accuracy", "reconstructions") < 0.3
    assert value(untrained, "classifier_accuracy", "test images") > 0.9
    assert value(untrained, "bits_per_dim", "test images") > 5.0


def test_a_collapsed_model_reads_zero_and_chance(dead):
    for measure, of in (("active_units", "z_mean"), ("rate", "test images"), ("dimension_wise_kl", "q(z)")):
        assert value(dead, measure, of) == pytest.approx(0.0, abs=1e-6)
    assert value(dead, "mutual_information", "q(z)") == pytest.approx(0.0, abs=1e-6)
    assert value(dead, "collapsed_latents", "q(z|x)") == 3
    assert dead.set_index("measure").loc["collapsed_latents", "note"].endswith(": 0, 1, 2")
    chance = value(dead, "largest_class_share", "test images")
    for measure in ("knn_accuracy", "linear_probe_accuracy"):
        assert value(dead, measure, "z_mean") <= chance + 0.05
    assert value(dead, "recall", PRIOR) < 0.05  # every mean is one image
    elbo, iwae = (value(dead, measure, "first 40 test images") for measure in ("elbo", "iwae"))
    assert iwae == pytest.approx(elbo, abs=1e-3)


def test_scrambled_labels_read_as_chance(digits, classifier, rng):
    parts = ("train", "val", "test")
    scrambled = {f"y_{part}": rng.permutation(getattr(digits, f"y_{part}")) for part in parts}
    table = scorecard(small_vae(), dataclasses.replace(digits, **scrambled), classifier, BRIEF)
    for measure, of in (
        *(("knn_accuracy", "z_mean"), ("linear_probe_accuracy", "z_mean")),
        *(("classifier_accuracy", "test images"), ("classifier_accuracy", "reconstructions")),
    ):
        assert value(table, measure, of) < 0.2


def test_collapsed_codes_are_entangled_with_everything():
    data = load_dataset("sprites", image_size=8).subset(n_train=400, n_val=200, n_test=3000)
    table = scorecard(collapsed(small_vae()), data, None, BRIEF)
    for measure in ("mig", "sap", "dci_disentanglement", "dci_completeness", "factor_vae_score"):
        assert value(table, measure, "z_mean") == pytest.approx(0.0, abs=1e-6)


def test_codes_that_are_the_factors_are_disentangled():
    data = load_dataset("sprites", image_size=8).subset(n_train=400, n_val=200, n_test=3000)
    vae = small_vae(latent_dim=5)
    by_pixels = {x.tobytes(): f for x, f in zip(data.x_test, data.factors_test, strict=True)}

    def encode(x, y=None):
        factors = np.array([by_pixels.get(image.tobytes(), np.zeros(5)) for image in x], dtype="float32")
        return factors, np.full_like(factors, -5.0)

    vae.encode = encode
    table = scorecard(vae, data, None, BRIEF)
    for measure in ("mig", "dci_disentanglement", "factor_vae_score"):
        assert value(table, measure, "z_mean") > 0.8


# --- Models that are as good as data, or copy it


class Parrot:
    """Put images in the place of what a model generates."""

    def __init__(self, vae, images, labels=None):
        self.vae, self.images, self.labels = vae, images, labels
        vae.sample, vae.decode = self.sample, lambda z, y=None, **_: self.sample(len(z), y)

    def sample(self, n, y=None, seed=0, **_):
        rng = np.random.default_rng(seed)
        if y is None:
            return self.images[rng.choice(len(self.images), n, replace=False)]
        return np.stack([self.images[rng.choice(np.flatnonzero(self.labels == label))] for label in y])


def test_a_generator_of_new_real_images_reads_as_the_floor_and_copies_nothing(digits, classifier):
    vae, data = small_vae(), digits.subset(n_train=1000)
    Parrot(vae, digits.x_train[1000:])
    table = scorecard(vae, data, classifier, BRIEF)
    for measure in ("precision", "recall"):
        assert value(table, measure, PRIOR) == pytest.approx(value(table, measure, FLOOR), abs=0.12)
    frechet = [value(table, "frechet_distance", of, 80) for of in (PRIOR, FLOOR)]
    assert frechet[0] == pytest.approx(frechet[1], rel=0.35)
    assert value(table, "copied_share", PRIOR) < 0.1


def test_a_generator_of_training_images_is_found_out(digits, classifier):
    vae = small_vae()
    Parrot(vae, digits.x_train)
    table = scorecard(vae, digits, classifier, BRIEF)
    assert value(table, "copied_share", PRIOR) == 1.0 and value(table, "copied_share", FLOOR) < 0.1


def test_labels_asked_for_are_judged_and_diversity_is_measured_against_real_images(digits, classifier):
    vae = small_vae(num_classes=10)
    Parrot(vae, digits.x_val, digits.y_val)
    table = scorecard(vae, digits, classifier, BRIEF)
    assert value(table, "classifier_accuracy", PRIOR) > 0.9
    assert value(table, "within_class_diversity", PRIOR) == pytest.approx(1.0, abs=0.25)
    means = np.stack([digits.x_train[digits.y_train == k].mean(axis=0) for k in range(10)]).astype("uint8")
    Parrot(vae, means, np.arange(10))
    table = scorecard(vae, digits, classifier, BRIEF)
    assert value(table, "within_class_diversity", DRAWS) == pytest.approx(0.0, abs=1e-6)


def test_a_conditional_model_that_has_learned_nothing_has_labels_at_chance(digits, classifier):
    table = scorecard(small_vae(num_classes=10, prior="flow"), digits, classifier, BRIEF)
    assert value(table, "classifier_accuracy", "draws from p(x|z), learned prior") < 0.3
    assert value(table, "classifier_accuracy", FLOOR) > 0.9
    assert "this prior is learned" in left_out(table)["marginal_kl"]


def test_within_class_diversity_is_the_variance_within_and_not_between_classes():
    features = np.array([[0.0, 0.0], [2.0, 0.0], [50.0, 1.0], [50.0, 5.0], [9.0, 9.0]])
    assert within_class_diversity(features, [0, 0, 1, 1, 2]) == pytest.approx((2.0 + 8.0) / 2)
    assert within_class_diversity(np.ones((4, 3)), [0, 0, 1, 1]) == 0.0
    with pytest.raises(ValueError, match="two images"):
        within_class_diversity(features, range(5))


# --- The table


def test_the_same_seeds_give_the_same_numbers_and_the_elbo_is_the_mean_over_them(
    digits, classifier, untrained
):
    again = scorecard(small_vae(), digits, classifier, BRIEF)
    assert again.equals(untrained)
    draws = [small_vae().elbo_terms(digits.x_test, seed=NOISE_SEED + s)["elbo"].mean() for s in (0, 1)]
    assert value(untrained, "elbo", "test images") == pytest.approx(np.mean(draws), rel=1e-6)
    assert draws[0] == pytest.approx(mean_elbo_terms(small_vae(), digits.x_test)["elbo"].mean(), rel=1e-6)


def test_every_row_names_unit_direction_n_and_interval(untrained):
    taken = untrained[untrained["value"].notna()]
    assert set(taken["measure"]) <= set(MEASURES) and (taken["n"] > 0).all() and (taken["unit"] != "").all()
    noisy = taken[taken["measure"].isin(["elbo", "iwae", "frechet_distance", "trustworthiness", "recall"])]
    assert (noisy["half_width"] >= 0).all()
    frechet = taken[(taken["measure"] == "frechet_distance") & (taken["of"] == FLOOR)]
    assert frechet["n"].tolist() == [80, 40, 20] and frechet["value"].is_monotonic_increasing  # its bias
    missing = left_out(untrained)
    assert len(missing) == 6 and set(missing.values()) == {"left out: the data has no known factors"}


def test_the_table_is_text_and_json(untrained):
    text = as_text(untrained)
    assert "(lower is better)" in text and "left out: the data has no known factors" in text and "±" in text
    rows = json.loads(json.dumps(records(untrained), allow_nan=False))
    assert len(rows) == len(untrained) and any(row["value"] is None for row in rows)


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_few_latents_no_labels_and_a_tiny_test_set_leave_out_what_they_must(digits, latent_dim):
    bare = dataclasses.replace(digits, y_train=None, y_val=None, y_test=None, class_names=())
    vae = small_vae(latent_dim=latent_dim, likelihood="bernoulli", binarize=True)
    missing = left_out(scorecard(vae, bare.subset(n_train=40, n_val=4, n_test=6), None, BRIEF))
    assert "labels" in missing["classifier_accuracy"] and "labels" in missing["copied_share"]
    assert {"bits_per_dim", "trustworthiness", "knn_accuracy", "linear_probe_accuracy"} <= set(missing)


def test_a_set_too_small_for_samples_says_how_many_images_it_has(digits, classifier):
    missing = left_out(scorecard(small_vae(), digits.subset(n_test=30), classifier, BRIEF))
    assert "30 test images, fewer than 50" in missing["copied_share"]


def test_a_measure_that_fails_or_is_not_finite_is_left_out_with_its_reason():
    table = MeasureTable()

    def fails(seed):
        raise ValueError("too few images; received 3")

    table.take(("mig", "sap"), "z_mean", 3, fails, (0, 1))
    table.take(("psnr", "mse"), "reconstructions", 3, lambda: {"psnr": np.inf, "mse": 0.0})
    assert left_out(table.frame()) == {
        **dict.fromkeys(("mig", "sap"), "left out: too few images; received 3"),
        "psnr": "left out: its value is inf",
    }
    assert value(table.frame(), "mse", "reconstructions") == 0.0
