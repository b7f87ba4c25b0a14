"""Oracles: a model that knows nothing reads chance, floor and zero; one that gives real images, as real."""

import dataclasses
import json

import numpy as np
import pytest

from vae_lib.config import EvaluationConfig
from vae_lib.data.loading import load_dataset
from vae_lib.evaluation import scorecard as module
from vae_lib.evaluation.classifier import ClassifierConfig, train_classifier
from vae_lib.evaluation.metric_table import as_text, missing, records, row, score_table
from vae_lib.evaluation.samples import within_class_diversity
from vae_lib.evaluation.scorecard import scorecard
from vae_lib.metrics import METRICS, sample_quality
from vae_lib.models.vae import VAE
from vae_lib.training.scores import NOISE_SEED, evaluate

BRIEF = EvaluationConfig(
    seeds=(0, 1), n_samples=80, n_iwae=40, iwae_k=10, n_codes=400, n_pairs=150, n_tsne=80
)
MEANS, DRAWS, FLOOR = ("mean", "model"), ("sample", "model"), ("real", "")  # target and prior


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


def value(table, metric, target=None, prior="", n=None):
    target = METRICS[metric].target if target is None else target
    rows = table[(table["metric"] == metric) & (table["target"] == target) & (table["prior"] == prior)]
    rows = rows if n is None else rows[rows["n"] == n]
    assert len(rows), f"{metric}, {target}, {prior} is not in the table"
    return rows["value"].iloc[0]


def left_out(table):
    rows = table[table["value"].isna()]
    return dict(zip(rows["metric"], rows["note"], strict=True))


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
    floor, generated = (value(untrained, "frechet_distance", *kind, n=80) for kind in (FLOOR, MEANS))
    assert generated > 3 * floor
    # Its means are nearly one image: their precision is that of one point, near to some real image or not.
    assert value(untrained, "recall", *MEANS) < 0.05 and value(untrained, "recall", *FLOOR) > 0.7
    assert value(untrained, "precision", *FLOOR) > 0.7
    assert value(untrained, "kernel_distance", *MEANS) > 10 * abs(value(untrained, "kernel_distance", *FLOOR))
    assert value(untrained, "classifier_accuracy", "reconstruction") < 0.3
    assert value(untrained, "classifier_accuracy", "test") > 0.9
    assert value(untrained, "bits_per_dim", "test", "model") > 5.0


def test_a_collapsed_model_reads_zero_and_chance(dead):
    for metric in ("active_units", "dimension_wise_kl", "mutual_information"):
        assert value(dead, metric) == pytest.approx(0.0, abs=1e-6)
    assert value(dead, "rate", prior="model") == pytest.approx(0.0, abs=1e-6)
    assert value(dead, "collapsed_latents") == 3
    assert dead.set_index("metric").loc["collapsed_latents", "note"].endswith(": 0, 1, 2")
    for metric in ("knn_accuracy", "linear_probe_accuracy"):
        assert value(dead, metric) <= value(dead, "largest_class_share") + 0.05
    assert value(dead, "recall", *MEANS) < 0.05  # every mean is one image
    elbo, iwae = (value(dead, metric, "test_subset", "model") for metric in ("elbo", "iwae"))
    assert iwae == pytest.approx(elbo, abs=1e-3)


def test_scrambled_labels_read_as_chance(digits, classifier, rng):
    parts = ("train", "val", "test")
    scrambled = {f"y_{part}": rng.permutation(getattr(digits, f"y_{part}")) for part in parts}
    table = scorecard(small_vae(), dataclasses.replace(digits, **scrambled), classifier, BRIEF)
    for metric in ("knn_accuracy", "linear_probe_accuracy"):
        assert value(table, metric) < 0.2
    for target in ("test", "reconstruction"):
        assert value(table, "classifier_accuracy", target) < 0.2


def test_collapsed_codes_are_entangled_with_everything():
    data = load_dataset("sprites", image_size=8).subset(n_train=400, n_val=200, n_test=3000)
    table = scorecard(collapsed(small_vae()), data, None, BRIEF)
    for metric in ("mig", "sap", "dci_disentanglement", "dci_completeness", "factor_vae_score"):
        assert value(table, metric) == pytest.approx(0.0, abs=1e-6)


def test_codes_that_are_the_factors_are_disentangled():
    data = load_dataset("sprites", image_size=8).subset(n_train=400, n_val=200, n_test=3000)
    vae = small_vae(latent_dim=5)
    by_pixels = {x.tobytes(): f for x, f in zip(data.x_test, data.factors_test, strict=True)}

    def encode(x, y=None):
        factors = np.array([by_pixels.get(image.tobytes(), np.zeros(5)) for image in x], dtype="float32")
        return factors, np.full_like(factors, -5.0)

    vae.encode = encode
    table = scorecard(vae, data, None, BRIEF)
    for metric in ("mig", "dci_disentanglement", "factor_vae_score"):
        assert value(table, metric) > 0.8


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
    for metric in ("precision", "recall"):
        assert value(table, metric, *MEANS) == pytest.approx(value(table, metric, *FLOOR), abs=0.12)
    frechet = [value(table, "frechet_distance", *kind, n=80) for kind in (MEANS, FLOOR)]
    assert frechet[0] == pytest.approx(frechet[1], rel=0.35)
    assert value(table, "copied_share", *MEANS) < 0.1


def test_a_generator_of_training_images_is_found_out(digits, classifier):
    vae = small_vae()
    Parrot(vae, digits.x_train)
    table = scorecard(vae, digits, classifier, BRIEF)
    assert value(table, "copied_share", *MEANS) == 1.0 and value(table, "copied_share", *FLOOR) < 0.1


def test_labels_asked_for_are_judged_and_diversity_is_measured_against_real_images(digits, classifier):
    vae = small_vae(num_classes=10)
    Parrot(vae, digits.x_val, digits.y_val)
    table = scorecard(vae, digits, classifier, BRIEF)
    assert value(table, "classifier_accuracy", *MEANS) > 0.9
    assert value(table, "within_class_diversity", *MEANS) == pytest.approx(1.0, abs=0.25)
    means = np.stack([digits.x_train[digits.y_train == k].mean(axis=0) for k in range(10)]).astype("uint8")
    Parrot(vae, means, np.arange(10))
    table = scorecard(vae, digits, classifier, BRIEF)
    assert value(table, "within_class_diversity", *DRAWS) == pytest.approx(0.0, abs=1e-6)


def test_a_conditional_model_that_has_learned_nothing_has_labels_at_chance(digits, classifier):
    table = scorecard(small_vae(num_classes=10, prior="flow"), digits, classifier, BRIEF)
    assert value(table, "classifier_accuracy", *DRAWS) < 0.3
    assert value(table, "classifier_accuracy", *FLOOR) > 0.9
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
    assert value(untrained, "elbo", prior="model") == pytest.approx(np.mean(draws), rel=1e-6)
    assert draws[0] == pytest.approx(evaluate(small_vae(), digits.x_test)["elbo"], rel=1e-6)


def test_every_row_names_unit_direction_n_and_interval(untrained):
    taken = untrained[untrained["value"].notna()]
    assert set(taken["metric"]) <= set(METRICS) and (taken["n"] > 0).all() and (taken["unit"] != "").all()
    noisy = taken[taken["metric"].isin(["elbo", "iwae", "frechet_distance", "trustworthiness", "recall"])]
    assert (noisy["half_width"] >= 0).all()
    frechet = taken[(taken["metric"] == "frechet_distance") & (taken["target"] == "real")]
    assert frechet["n"].tolist() == [80, 40, 20] and frechet["value"].is_monotonic_increasing  # its bias
    reasons = left_out(untrained)
    assert len(reasons) == 7 and set(reasons.values()) == {"left out: the data has no known factors"}


def test_the_table_is_text_and_json(untrained):
    text = as_text(untrained)
    assert "(lower is better)" in text and "left out: the data has no known factors" in text and "±" in text
    rows = json.loads(json.dumps(records(untrained), allow_nan=False))
    assert len(rows) == len(untrained) and any(row["value"] is None for row in rows)


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_few_latents_no_labels_and_a_tiny_test_set_leave_out_what_they_must(digits, latent_dim):
    bare = dataclasses.replace(digits, y_train=None, y_val=None, y_test=None, class_names=())
    vae = small_vae(latent_dim=latent_dim, likelihood="bernoulli", binarize=True)
    reasons = left_out(scorecard(vae, bare.subset(n_train=40, n_val=4, n_test=6), None, BRIEF))
    assert "labels" in reasons["classifier_accuracy"] and "labels" in reasons["copied_share"]
    assert {"bits_per_dim", "trustworthiness", "knn_accuracy", "linear_probe_accuracy"} <= set(reasons)


def test_a_set_too_small_for_samples_says_how_many_images_it_has(digits, classifier):
    reasons = left_out(scorecard(small_vae(), digits.subset(n_test=20), classifier, BRIEF))
    assert "20 test images, fewer than 50" in reasons["copied_share"]
    assert "more than 20 test images, not 20" in reasons["trustworthiness"]


def test_a_group_that_fails_is_left_out_with_its_reason_and_stops_no_other(digits, monkeypatch):
    def fails(context):
        yield row("mig", 0.5, 3)
        raise ValueError("too few images; received 3")

    def works(context):
        yield row("psnr", np.inf, 3, "reconstruction")
        yield row("mse", 0.0, 3, "reconstruction")

    monkeypatch.setattr(module, "_METRICS_OF", {fails: ("mig", "sap"), works: ("psnr", "mse")})
    table = scorecard(small_vae(), digits, None, BRIEF)
    assert left_out(table) == {
        **dict.fromkeys(("mig", "sap"), "left out: too few images; received 3"),
        "psnr": "left out: it is inf",
    }
    assert value(table, "mse", "reconstruction") == 0.0


def test_a_table_has_one_row_a_score_with_the_mean_and_the_student_interval_over_seeds():
    rows = [row("rate", r, 9, prior="model", seed=seed) for seed, r in enumerate((1.0, 2.0, 3.0))]
    rows += [row("rate", 5.0, 9, prior="mixture", seed=seed) for seed in (0, 1)]
    rows += [row("active_units", 4, 9), *missing(("sap",), "no factors")]
    table = score_table(rows).set_index(["metric", "prior"])
    assert list(table["value"].dropna()) == [2.0, 5.0, 4.0] and table["unit"].iloc[0] == "nats/image"
    expected = [4.302653 / np.sqrt(3), 0.0, np.nan, np.nan]
    np.testing.assert_allclose(table["half_width"], expected, rtol=1e-6)
    assert table.loc[("sap", ""), "note"] == "left out: no factors"
