"""Readings: sentences from tables whose answer is known, and the prose held to the committed study."""

import pandas as pd
import pytest

from tools.execute_notebook import ROOT
from vae_lib.metrics.intervals import mean_interval
from vae_lib.study import summaries
from vae_lib.study.comparisons import compare_settings
from vae_lib.study.grids import STUDY_EVALUATION, all_configs, preset_comparisons
from vae_lib.study.results import by_run, read_results


def test_bits_are_compared_with_a_coder_in_the_right_direction():
    bits = pd.DataFrame(
        [
            *(("a", "VAE, study", 3.4), ("a", "VAE, study", 3.6), ("a", "VAE, shown", 3.3)),
            *(
                ("a", "WebP", 3.9),
                ("b", "VAE, study", 6.5),
                ("b", "VAE, shown", 6.2),
                ("b", "WebP", 4.0),
            ),
        ],
        columns=["data set", "model", "bits"],
    )
    text = summaries.summarize_bits(bits)
    assert "3.30 bits under the model shown (3.50 in the study), 0.60 fewer than" in text
    assert "2.20 more than" in text
    assert "in the study" not in summaries.summarize_bits(bits[bits["model"] != "VAE, study"])


def test_codes_are_compared_with_pixels_in_points():
    views = ("raw pixels", "PCA, 32 axes", "z_mean of the VAE")
    index = pd.MultiIndex.from_tuples([("a", view) for view in views])
    text = summaries.summarize_codes(pd.DataFrame({"10-NN": [0.8, 0.85, 0.84]}, index))
    assert "84% of images, +4 points against raw pixels and -1 against PCA" in text


def sweep(axis, **columns):
    return pd.DataFrame({"data set": "a", "seed": 0, axis: [1, 2, 4], **columns})


def test_the_best_latent_size_is_told_and_what_comes_after_it():
    text = summaries.summarize_latent_size(sweep("latent_dim", bits_per_dim_test=[5.0, 3.0, 4.0]))
    assert text == "On a bits per dimension fall from 5.00 at 1 latents to 3.00 at 2; at 4 they are 4.00."
    assert summaries.summarize_latent_size(sweep("latent_dim", bits_per_dim_test=[5.0, 4.0, 3.0])).endswith(
        "at 4."
    )


def test_beta_is_read_from_end_to_end_and_at_its_best():
    columns = {"rate_test": [9, 5, 1], "psnr_test": [20, 19, 18], "knn_accuracy_z_mean": [0.8, 0.8, 0.7]}
    text = summaries.summarize_beta(sweep("beta", bits_per_dim_test=[3.1, 3.0, 3.2], **columns))
    assert "best at beta 2 (-0.100 ± nan bits from beta 1, within the noise)" in text
    assert "from 9 to 1 nats" in text and "80% to 70%" in text
    assert "best at beta 1. From" in summaries.summarize_beta(
        sweep("beta", bits_per_dim_test=[3.0, 3.1, 3.2], **columns)
    )


def test_disentanglement_names_the_beta_whose_seeds_lie_furthest_apart():
    runs = pd.DataFrame(
        {"beta": [1, 1, 4, 4], "mig_z_mean": [0.1, 0.1, 0.2, 0.4], "active_units_z_mean": [6, 6, 3, 3]}
    )
    text = summaries.summarize_disentanglement(runs)
    assert (
        "from 0.10 at beta 1 to 0.30 at beta 4" in text and "At beta 4 alone, seeds span 0.20 to 0.40" in text
    )


@pytest.fixture(scope="module")
def study():
    table = read_results(all_configs("full"), ROOT / "models" / "study", STUDY_EVALUATION)
    return {name: by_run(table, configs) for name, configs in preset_comparisons("full").items()}


def test_the_committed_study_is_whole(study):
    assert {name: len(runs) for name, runs in study.items()} == {
        **{"data_set": 9, "latent_size": 42, "beta": 42, "disentanglement": 30},
        **{"likelihood": 6, "prior": 6, "conditional": 6},
    }


PROSE = [  # comparison, setting, start, end, measure, direction that the notebook's prose gives it
    ("likelihood", "likelihood", "discretized_logistic", "bernoulli", "rate_test", -1),
    ("likelihood", "likelihood", "discretized_logistic", "bernoulli", "frechet_distance_mean_model", -1),
    ("likelihood", "likelihood", "discretized_logistic", "bernoulli", "frechet_distance_sample_model", 1),
    ("prior", "prior", "normal", "flow", "frechet_distance_sample_model", -1),
    ("prior", "prior", "normal", "flow", "frechet_distance_mean_model", -1),
    ("conditional", "conditional", False, True, "knn_accuracy_z_mean", -1),
    ("conditional", "conditional", False, True, "linear_probe_accuracy_z_mean", -1),
    ("conditional", "conditional", False, True, "rate_test", -1),
    ("disentanglement", "beta", 1.0, 16.0, "mig_z_mean", 1),
    ("disentanglement", "beta", 1.0, 16.0, "dci_disentanglement_z_mean", 1),
    ("disentanglement", "beta", 1.0, 16.0, "active_units_z_mean", -1),
]


@pytest.mark.parametrize(("comparison", "setting", "start", "end", "measure", "direction"), PROSE)
def test_what_the_prose_says_holds_in_the_committed_study(
    study, comparison, setting, start, end, measure, direction
):
    assert compare_settings(study[comparison], setting, start, end, measure).direction == direction


@pytest.mark.parametrize(("dataset", "best"), [("fashion_mnist", 32), ("cifar10", 64)])
def test_bits_per_dim_are_best_where_the_prose_says_and_worse_at_128(study, dataset, best):
    runs = study["latent_size"][study["latent_size"]["dataset"] == dataset]
    assert runs.groupby("latent_dim")["bits_per_dim_test"].mean().idxmin() == best
    assert compare_settings(runs, "latent_dim", best, 128, "bits_per_dim_test").direction == 1


def test_a_mixture_brings_draws_nearer_than_the_flow_and_labels_asked_for_are_often_missed(study):
    runs = study["prior"]
    flow = runs[runs["prior"] == "flow"].set_index("seed")["frechet_distance_sample_model"]
    normal = runs[runs["prior"] == "normal"].set_index("seed")
    mixture = normal["frechet_distance_sample_mixture"]
    assert (mixture < flow).all()
    given = study["conditional"][study["conditional"]["conditional"]]
    assert (given["classifier_accuracy_mean_model"] < 0.5).all()
    diversity = given[["within_class_diversity_mean_model", "within_class_diversity_real"]]
    assert (diversity.iloc[:, 0] > diversity.iloc[:, 1]).all()


def test_a_beta_of_four_does_hardly_any_harm_to_the_bound_on_cifar10_and_takes_a_quarter_of_the_rate(study):
    runs = study["beta"][study["beta"]["dataset"] == "cifar10"]
    assert abs(compare_settings(runs, "beta", 1.0, 4.0, "bits_per_dim_test").difference) < 0.01
    assert compare_settings(runs, "beta", 1.0, 4.0, "rate_test").difference == pytest.approx(-28, abs=1)


def test_a_high_beta_does_not_show_the_classes_better_than_by_two_points(study):
    runs = study["beta"]
    fashion, cifar = (
        compare_settings(runs[runs["dataset"] == name], "beta", 1.0, 16.0, "knn_accuracy_z_mean")
        for name in ("fashion_mnist", "cifar10")
    )
    assert fashion.direction == -1 and abs(cifar.difference) < 0.02


@pytest.mark.parametrize("dataset", ["fashion_mnist", "cifar10", "mnist"])
def test_readme_and_docs_give_the_scores_of_the_committed_study(study, dataset):
    pages = (ROOT / "README.md", ROOT / "docs" / "results.md")
    text = " ".join(" ".join(page.read_text(encoding="utf-8") for page in pages).split())
    runs = study["data_set"][study["data_set"]["dataset"] == dataset]
    for measure, digits, unit in (
        *(("bits_per_dim_test", 3, "bits/dim"), ("rate_test", 1, "nats"), ("psnr_test", 2, "dB")),
        *(("knn_accuracy_z_mean", 3, ""), ("classifier_accuracy_reconstruction", 3, "")),
    ):
        mean, half_width = mean_interval(runs[measure])
        assert f"{mean:.{digits}f} ± {half_width:.{digits}f} {unit}".strip() in text, measure


def test_the_readme_tells_what_beta_and_priors_did_in_the_committed_study(study):
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    mig = study["disentanglement"].groupby("beta")["mig_z_mean"].mean()
    assert mig.idxmax() == 16.0
    assert f"rises from {mig[1.0]:.2f} at beta 1 to {mig[16.0]:.2f} at beta 16" in readme
    beta = study["beta"][study["beta"]["dataset"] == "fashion_mnist"]
    knn = beta.groupby("beta")["knn_accuracy_z_mean"].mean()
    assert f"from {knn[1.0]:.3f} to {knn[16.0]:.3f} on Fashion-MNIST at beta 16" in readme
    draws = ["frechet_distance_sample_model", "frechet_distance_sample_mixture"]
    means = study["prior"].groupby("prior")[draws].mean()
    (own, mixture), flow = means.loc["normal"], means.loc["flow"].iloc[0]
    assert (
        f"Fréchet distance of draws from {own:.1f} to {mixture:.1f}, a learned flow to {flow:.1f}" in readme
    )
