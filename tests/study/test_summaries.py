"""Readings: sentences from tables whose answer is known, and the prose held to the committed study."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tools.execute_notebook import ROOT
from vae_lib.metrics.intervals import mean_interval
from vae_lib.study import summaries
from vae_lib.study.comparisons import compare_settings
from vae_lib.study.grids import STUDY_EVALUATION, all_configs, preset_comparisons
from vae_lib.study.results import read_results, runs_by_comparison


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


def test_the_best_size_after_each_length_of_training_is_compared_with_the_second_best():
    runs = pd.DataFrame(
        {
            "epochs": [1] * 4 + [5] * 4,
            "latent_dim": [8, 8, 16, 16] * 2,
            "seed": [0, 1] * 4,
            "data set": "a",
            "bits_per_dim_test": [3.0, 3.0, 3.5, 3.504, 2.9, 3.0, 2.8, 3.0],
        }
    )
    text = summaries.summarize_training_length(runs)
    assert text.startswith("After 1 epoch 8 latents are best, at 3.000 bits per dimension: -0.502 ± ")
    assert "After 5 epochs 16 latents are best, at 2.900" in text
    assert "from 16. After" in text and text.endswith("from 8, within the noise of seeds.")


def test_total_correlation_is_read_at_the_weight_with_the_best_mig_over_all_codes():
    runs = pd.DataFrame({"tc_weight": [0.0, 3.0, 9.0], "mig_z_mean": [0.1, 0.4, 0.2]}).assign(
        dci_informativeness_z_mean=[0.8, 0.7, 0.5], active_units_z_mean=[6, 5, 4]
    )
    text = summaries.summarize_total_correlation(runs)
    assert text.startswith("At a weight of 3 MIG over all codes is 0.40 (without it, 0.10)")
    assert "informativeness 0.70 (0.80), and 5.0 latents are active (6.0)" in text


def test_beta_is_read_from_end_to_end_and_at_its_best():
    columns = {"rate_test": [9, 5, 1], "psnr_test": [20, 19, 18], "knn_accuracy_z_mean": [0.8, 0.8, 0.7]}
    text = summaries.summarize_beta(sweep("beta", bits_per_dim_test=[3.1, 3.0, 3.2], **columns))
    assert "best at beta 2 (-0.100 ± nan bits from beta 1, within the noise)" in text
    assert "from 9 to 1 nats" in text and "80% to 70%" in text
    assert "best at beta 1 (-0.100 ± nan bits from beta 2, within the noise)" in summaries.summarize_beta(
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


@pytest.mark.parametrize(("cost", "words"), [(2.0, "is likelier"), (4.0, "is less likely")])
def test_images_outside_are_said_to_be_likelier_only_if_they_are(cost, words):
    images = pd.DataFrame({"set": ["own", "other", "third"], "cost": [3.0, cost, 9.0]})
    rows = [("other", "elbo", 0.14), ("other", "complexity", 0.99), ("third", "elbo", 0.7)]
    table = pd.DataFrame(rows, columns=["outside", "score", "auroc"])
    sources = dict.fromkeys(["own", "other", "third"], "")
    found = SimpleNamespace(images=images, table=table, sources=sources, unit="bits/dim")
    text = summaries.summarize_novelty({"one z": found})
    assert f"other take {cost:.2f} bits/dim and those of own 3.00: what it never saw {words}" in text
    assert "AUROC of 0.14, and less the size of a PNG 0.99." in text
    found.table = table[table["score"] == "elbo"]  # of a likelihood without bits
    assert "AUROC of 0.14." in summaries.summarize_novelty({"one z": found})


@pytest.fixture(scope="module")
def study():
    table = read_results(all_configs("full"), ROOT / "models" / "study", STUDY_EVALUATION)
    return runs_by_comparison(table, preset_comparisons("full"))


def test_the_committed_study_is_whole(study):
    assert {name: len(runs) for name, runs in study.items()} == {
        **{"data_set": 9, "latent_size": 42, "beta": 42, "disentanglement": 18},
        **{"likelihood": 6, "prior": 18, "conditional": 6},
        **{"channels": 6, "family": 18, "label_prior": 18, "training_length": 36, "total_correlation": 12},
    }


FASHION, CIFAR, MNIST = "fashion_mnist", "cifar10", "mnist"
PROSE = [  # comparison, data set, setting, start, end, measure, direction that the notebook's prose gives it
    ("likelihood", FASHION, "likelihood", "discretized_logistic", "bernoulli", "rate_test", -1),
    (
        "likelihood",
        FASHION,
        "likelihood",
        "discretized_logistic",
        "bernoulli",
        "frechet_distance_mean_model",
        -1,
    ),
    (
        "likelihood",
        FASHION,
        "likelihood",
        "discretized_logistic",
        "bernoulli",
        "frechet_distance_sample_model",
        1,
    ),
    ("conditional", FASHION, "conditional", False, True, "knn_accuracy_z_mean", -1),
    ("conditional", FASHION, "conditional", False, True, "linear_probe_accuracy_z_mean", -1),
    ("conditional", FASHION, "conditional", False, True, "rate_test", -1),
    ("disentanglement", "sprites", "beta", 1.0, 16.0, "mig_z_mean", 1),
    ("disentanglement", "sprites", "beta", 1.0, 16.0, "dci_disentanglement_z_mean", 1),
    ("disentanglement", "sprites", "beta", 1.0, 16.0, "active_units_z_mean", -1),
    *(("prior", name, "prior", "normal", "flow", "rate_test", -1) for name in (FASHION, CIFAR, MNIST)),
    *(
        ("prior", name, "prior", "normal", "flow", f"frechet_distance_{of}_model", -1)
        for name in (FASHION, MNIST)
        for of in ("sample", "mean")
    ),
    ("prior", CIFAR, "prior", "normal", "flow", "frechet_distance_mean_model", 0),
    ("channels", CIFAR, "channels", "independent", "in_turn", "bits_per_dim_test", -1),
    ("channels", CIFAR, "channels", "independent", "in_turn", "psnr_test", -1),
    ("channels", CIFAR, "channels", "independent", "in_turn", "knn_accuracy_z_mean", -1),
    ("channels", CIFAR, "channels", "independent", "in_turn", "frechet_distance_sample_model", 1),
    ("channels", CIFAR, "channels", "independent", "in_turn", "frechet_distance_mean_model", 1),
    *(
        ("label_prior", name, "prior", "normal", prior, "classifier_accuracy_sample_model", 1)
        for name in (FASHION, MNIST)
        for prior in ("gaussian", "flow")
    ),
    *(
        ("family", name, "network", "conv", "hierarchical", "bits_per_dim_test", -1)
        for name in (FASHION, CIFAR, MNIST)
    ),
]


@pytest.mark.parametrize(("comparison", "dataset", "setting", "start", "end", "measure", "direction"), PROSE)
def test_what_the_prose_says_holds_in_the_committed_study(
    study, comparison, dataset, setting, start, end, measure, direction
):
    runs = study[comparison][study[comparison]["dataset"] == dataset]
    assert compare_settings(runs, setting, start, end, measure).direction == direction


@pytest.mark.parametrize(("dataset", "best"), [("fashion_mnist", 32), ("cifar10", 64)])
def test_bits_per_dim_are_best_where_the_prose_says_and_worse_at_128(study, dataset, best):
    runs = study["latent_size"][study["latent_size"]["dataset"] == dataset]
    assert runs.groupby("latent_dim")["bits_per_dim_test"].mean().idxmin() == best
    assert compare_settings(runs, "latent_dim", best, 128, "bits_per_dim_test").direction == 1


@pytest.mark.parametrize("dataset", ["fashion_mnist", "mnist"])
def test_a_mixture_brings_draws_nearer_than_the_flow_and_labels_asked_for_are_often_missed(study, dataset):
    runs = study["prior"][study["prior"]["dataset"] == dataset]
    flow = runs[runs["prior"] == "flow"].set_index("seed")["frechet_distance_sample_model"]
    normal = runs[runs["prior"] == "normal"].set_index("seed")
    assert (normal["frechet_distance_sample_mixture"] < flow).all()
    asked = study["label_prior"][study["label_prior"]["dataset"] == dataset].set_index("prior")
    judged, scatter = asked["classifier_accuracy_sample_model"], asked["within_class_diversity_sample_model"]
    assert (judged["normal"] < 0.5).all() and (judged["flow"] > 0.8).all()
    assert (asked["classifier_accuracy_sample_mixture"] > 0.8).all()  # of each class, whatever the prior
    assert (scatter["normal"] > 1.5 * asked["within_class_diversity_real"]["normal"]).all()


def test_a_beta_of_four_costs_cifar10_two_in_a_hundred_bits_and_four_tenths_of_the_rate(study):
    runs = study["beta"][study["beta"]["dataset"] == "cifar10"]
    bits = compare_settings(runs, "beta", 1.0, 4.0, "bits_per_dim_test")
    rate = compare_settings(runs, "beta", 1.0, 4.0, "rate_test")
    assert bits.difference / bits.start == pytest.approx(0.02, abs=0.005)
    assert rate.start == pytest.approx(108, abs=1) and rate.difference == pytest.approx(-46, abs=1.5)


def test_up_to_a_beta_of_one_cifar10_saves_a_fifth_of_the_rate_for_hardly_any_distortion(study):
    runs = study["beta"][study["beta"]["dataset"] == "cifar10"]
    rate = compare_settings(runs, "beta", 0.25, 1.0, "rate_test")
    assert rate.difference / rate.start == pytest.approx(-0.2, abs=0.02)
    distortion = compare_settings(runs, "beta", 0.25, 1.0, "distortion_test")
    assert distortion.difference / distortion.start < 0.002


def test_one_run_of_sixteen_latents_kept_the_form_of_cifar10_and_needs_fewer_bits(study):
    runs = study["latent_size"]
    cell = runs[(runs["dataset"] == "cifar10") & (runs["latent_dim"] == 16)].sort_values("psnr_test")
    (*others, kept), (*bits, best) = cell["psnr_test"], cell["bits_per_dim_test"]
    assert max(others) < 13.5 and kept == pytest.approx(16.8, abs=0.05)
    assert min(bits) - best == pytest.approx(0.12, abs=0.005)


def test_a_weight_on_the_total_correlation_beats_the_best_beta_and_leaves_three_latents(study):
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    beta = study["disentanglement"][study["disentanglement"]["beta"] == 16.0]
    weighted = study["total_correlation"][study["total_correlation"]["tc_weight"] == 15.0]
    plain = study["total_correlation"][study["total_correlation"]["tc_weight"] == 0.0]
    measures = ["mig_z_mean", "dci_informativeness_z_mean"]
    assert (weighted[measures].mean() > beta[measures].mean()).all()
    assert weighted["bits_per_dim_test"].mean() < beta["bits_per_dim_test"].mean()
    assert (weighted["active_units_z_mean"] == 3).all()
    cells = [
        ", ".join("{:.2f} ± {:.2f}".format(*mean_interval(c[m])) for m in measures)
        for c in (plain, beta, weighted)
    ]
    assert "; ".join(cells) in text


def test_longer_training_makes_surplus_latents_cheaper_and_switches_them_off(study):
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    costs, active = [], []
    for _, rows in study["training_length"].groupby("epochs"):
        found = compare_settings(rows, "latent_dim", 32, 128, "bits_per_dim_test")
        costs.append(f"{found.difference:.3f} ± {found.half_width:.3f}")
        active.append(dict(list(rows.groupby("latent_dim")["active_units_z_mean"])))
    of_128 = ", ".join("{:.0f} ± {:.0f}".format(*mean_interval(counts[128])) for counts in active)
    assert f"{', '.join(costs)} bits/dim; active latents of 128: {of_128}" in text
    assert all((counts == n).all() for n, counts in active[0].items())
    after_twenty = np.concatenate([counts for n, counts in active[2].items() if n > 16])
    assert (after_twenty.min(), after_twenty.max()) == (19, 42)


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
    weighted = study["total_correlation"].groupby("tc_weight")["mig_z_mean"].mean()
    assert weighted.idxmax() == 15.0
    assert f"a weight of 15 on the total correlation takes it to {weighted[15.0]:.2f}" in readme
    draws = ["frechet_distance_sample_model", "frechet_distance_sample_mixture"]
    fashion = study["prior"][study["prior"]["dataset"] == "fashion_mnist"]
    means = fashion.groupby("prior")[draws].mean()
    (own, mixture), flow = means.loc["normal"], means.loc["flow"].iloc[0]
    assert (
        f"Fréchet distance of draws from {own:.1f} to {mixture:.1f}, a learned flow to {flow:.1f}" in readme
    )
    labelled = study["label_prior"][study["label_prior"]["dataset"] == "fashion_mnist"]
    obeyed = 100 * labelled.groupby("prior")["classifier_accuracy_sample_model"].mean()
    assert f"{obeyed['normal']:.0f} % under N(0, I), in {obeyed['flow']:.0f} % under a flow" in readme
    families = study["family"][study["family"]["dataset"] == "cifar10"]
    bits = families.groupby("network")["bits_per_dim_test"].mean()
    assert f"take CIFAR-10 from {bits['conv']:.2f} to {bits['hierarchical']:.2f} bits" in readme
    count = len(set(pd.concat(study.values())["run"]))
    assert f"**The result.** {count} runs" in readme
