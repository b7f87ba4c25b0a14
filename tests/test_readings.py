"""Readings: sentences from tables whose answer is known, and the prose held to the committed study."""

import pandas as pd
import pytest

from tests.notebook import ROOT
from vae_lib import readings
from vae_lib.findings import between
from vae_lib.presets import PROTOCOL, all_configs, comparisons
from vae_lib.results import by_run, read_results


def test_bits_are_compared_with_a_coder_in_the_right_direction():
    bits = pd.DataFrame(
        [
            *(("a", "VAE, 5 epochs", 3.4), ("a", "VAE, 5 epochs", 3.6), ("a", "VAE, showcase", 3.3)),
            *(
                ("a", "WebP", 3.9),
                ("b", "VAE, 5 epochs", 6.5),
                ("b", "VAE, showcase", 6.2),
                ("b", "WebP", 4.0),
            ),
        ],
        columns=["data set", "model", "bits"],
    )
    text = readings.of_bits(bits)
    assert "3.30 bits under the showcase model (3.50 after five epochs), 0.60 fewer than" in text
    assert "2.20 more than" in text
    assert "five epochs" not in readings.of_bits(bits[bits["model"] != "VAE, 5 epochs"])


def test_codes_are_compared_with_pixels_in_points():
    index = pd.MultiIndex.from_tuples([("a", "raw pixels"), ("a", "z_mean of the VAE")])
    assert "84% of images, +4 points" in readings.of_codes(pd.DataFrame({"10-NN": [0.8, 0.84]}, index))


def sweep(axis, **columns):
    return pd.DataFrame({"data set": "a", axis: [1, 2, 4], **columns})


def test_the_best_latent_size_is_told_and_what_comes_after_it():
    text = readings.of_latent_size(sweep("latent_dim", test_bits_per_dim=[5.0, 3.0, 4.0]))
    assert text == "On a bits per dimension fall from 5.00 at 1 latents to 3.00 at 2; at 4 they are 4.00."
    assert readings.of_latent_size(sweep("latent_dim", test_bits_per_dim=[5.0, 4.0, 3.0])).endswith("at 4.")


def test_beta_is_read_from_end_to_end_and_at_its_best():
    columns = {"test_rate": [9, 5, 1], "test_psnr": [20, 19, 18], "test_knn_accuracy": [0.8, 0.8, 0.7]}
    text = readings.of_beta(sweep("beta", test_bits_per_dim=[3.1, 3.0, 3.2], **columns))
    assert "best at beta 2" in text and "from 9 to 1 nats" in text and "80% to 70%" in text


def test_disentanglement_names_the_beta_whose_seeds_lie_furthest_apart():
    runs = pd.DataFrame(
        {"beta": [1, 1, 4, 4], "test_mig": [0.1, 0.1, 0.2, 0.4], "test_active_units": [6, 6, 3, 3]}
    )
    text = readings.of_disentanglement(runs)
    assert (
        "from 0.10 at beta 1 to 0.30 at beta 4" in text and "At beta 4 alone, seeds span 0.20 to 0.40" in text
    )


@pytest.fixture(scope="module")
def study():
    table = read_results(all_configs("full"), ROOT / "models" / "study", PROTOCOL)
    return {name: by_run(table, configs) for name, configs in comparisons("full").items()}


def test_the_committed_study_is_whole(study):
    assert {name: len(runs) for name, runs in study.items()} == {
        **{"data_set": 9, "latent_size": 42, "beta": 42, "disentanglement": 30},
        **{"likelihood": 6, "prior": 6, "conditional": 6},
    }


FRECHET = "test_frechet_distance_of_{}, own prior"
PROSE = [  # comparison, setting, start, end, measure, direction that the notebook's prose gives it
    ("likelihood", "likelihood", "discretized_logistic", "bernoulli", "test_rate", -1),
    ("likelihood", "likelihood", "discretized_logistic", "bernoulli", FRECHET.format("decoder means"), -1),
    ("likelihood", "likelihood", "discretized_logistic", "bernoulli", FRECHET.format("draws from p(x|z)"), 1),
    ("prior", "prior", "normal", "flow", FRECHET.format("draws from p(x|z)"), -1),
    ("prior", "prior", "normal", "flow", FRECHET.format("decoder means"), -1),
    ("conditional", "conditional", False, True, "test_knn_accuracy", -1),
    ("conditional", "conditional", False, True, "test_linear_probe_accuracy", -1),
    ("disentanglement", "beta", 1.0, 16.0, "test_mig", 1),
    ("disentanglement", "beta", 1.0, 16.0, "test_dci_disentanglement", 1),
    ("disentanglement", "beta", 1.0, 16.0, "test_active_units", -1),
]


@pytest.mark.parametrize(("comparison", "setting", "start", "end", "measure", "direction"), PROSE)
def test_what_the_prose_says_holds_in_the_committed_study(
    study, comparison, setting, start, end, measure, direction
):
    assert between(study[comparison], setting, start, end, measure).direction == direction


@pytest.mark.parametrize(("dataset", "best"), [("fashion_mnist", 32), ("cifar10", 64)])
def test_bits_per_dim_are_best_where_the_prose_says_and_worse_at_128(study, dataset, best):
    runs = study["latent_size"][study["latent_size"]["dataset"] == dataset]
    assert runs.groupby("latent_dim")["test_bits_per_dim"].mean().idxmin() == best
    assert between(runs, "latent_dim", best, 128, "test_bits_per_dim").direction == 1


def test_a_high_beta_does_not_show_the_classes_better_than_by_two_points(study):
    runs = study["beta"]
    knn = {name: between(runs[runs["dataset"] == name], "beta", 1.0, 16.0, "test_knn_accuracy") for name in
           ("fashion_mnist", "cifar10")}  # fmt: skip
    assert knn["fashion_mnist"].direction == -1 and abs(knn["cifar10"].difference) < 0.02
