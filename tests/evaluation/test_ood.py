import dataclasses

import numpy as np
import pandas as pd
import pytest

import vae_lib as vl
from vae_lib.config import TrainConfig
from vae_lib.data.dataset import fixed_permutation
from vae_lib.evaluation import ood
from vae_lib.metrics.intervals import mean_interval
from vae_lib.training.trainer import train
from vae_lib.utils.errors import InputError

pytestmark = pytest.mark.slow

SIZES = {"width": 4, "dense_units": 16, "epochs": 1, "batch_size": 64, "n_train": 640}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, digits):
    """Runs on digits: two flat ones of different seeds, and a hierarchical one."""
    folder = tmp_path_factory.mktemp("models")
    configs = [TrainConfig(dataset="digits", latent_dim=3, seed=seed, **SIZES) for seed in (0, 1)]
    configs.append(TrainConfig(dataset="digits", latent_dim=3, network="hierarchical", **SIZES))
    return [train(config, digits, models_dir=folder, verbose=0) for config in configs]


def in_fixed_order(x):
    return x[fixed_permutation(len(x))]


def value(found, outside, score):
    table = found.table.set_index(["outside", "score"])
    return table.loc[(outside, score), ["auroc", "half_width"]].tolist()


@pytest.fixture(scope="module")
def found(trained, digits, tmp_path_factory):
    """A comparison with test images that are not among those inside, with noise, and with constant images."""
    path = tmp_path_factory.mktemp("own") / "more.npy"
    np.save(path, in_fixed_order(digits.x_test)[80:160])
    return ood.compare(trained[0], digits, [str(path), "noise", "constant"], n_images=80), str(path)


def test_more_images_of_the_same_kind_are_not_told_apart_and_others_are_by_their_size(found):
    found, path = found
    for score in found.table["score"].unique():
        auroc, half_width = value(found, path, score)
        assert abs(auroc - 0.5) < 2 * half_width < 0.2, score
    assert value(found, "uniform noise", "png")[0] > 0.99
    assert value(found, "constant images", "png") == [0.0, 0.0]  # nothing is simpler
    assert set(found.table["over"]) == {"images"} and (found.table["n_inside"] == 80).all()


def test_the_scores_of_images_are_those_of_the_model(found, trained, digits):
    images = found[0].images
    inside = images[images["set"] == "digits"]
    x = in_fixed_order(digits.x_test)[:80]
    terms = trained[0].model().elbo_terms(x, seed=ood.NOISE_SEED)
    np.testing.assert_allclose(inside["elbo"], -terms["elbo"], rtol=1e-6)
    np.testing.assert_allclose(inside["complexity"], inside["elbo"] / np.log(2) - inside["png"])
    np.testing.assert_allclose(inside["cost"], inside["elbo"] / (64 * np.log(2)))
    assert (inside["iwae"].mean() < inside["elbo"].mean()) and (inside["png"] % 8 == 0).all()


def test_several_runs_give_an_interval_over_seeds(trained, digits):
    settings = {"against": ["noise", "vflip"], "n_images": 60, "iwae_k": 0}
    single = [ood.compare(run, digits, **settings) for run in trained[:2]]
    both = ood.compare(trained[:2], digits, **settings)
    assert set(both.table["over"]) == {"2 seeds"} and "iwae" not in set(both.table["score"])
    for outside in ("uniform noise", "flipped upside down"):
        for score in ("elbo", "mahalanobis"):
            expected = mean_interval([value(one, outside, score)[0] for one in single])
            assert value(both, outside, score) == pytest.approx(expected)
    for runs in ([trained[0], trained[2]], [trained[0], trained[0]]):
        with pytest.raises(InputError, match="runs must differ in their seed, and in nothing else"):
            ood.compare(runs, digits)


def test_a_hierarchical_model_is_compared_by_its_scales_too(trained, digits):
    found = ood.compare(trained[2], digits, ["noise"], n_images=30, iwae_k=1)
    vae, x = trained[2].model(), in_fixed_order(digits.x_test)[:30]
    bounds = vae.elbo_by_scale(x, seed=ood.NOISE_SEED)
    inside = found.images[found.images["set"] == "digits"]
    np.testing.assert_allclose(inside["scales_1x1"], bounds["4x4"] - bounds["1x1"], rtol=1e-4, atol=1e-3)
    assert "scales_4x4" not in inside and ood._title("scales_1x1") == "scale ratio 1x1"


def test_changed_images_are_others_than_those_inside_and_changed_as_said(digits, trained):
    names = ["hflip", "vflip", "constant", "blur"]
    sets, sources, left_out = ood._sets(trained[0], digits, names, 50, "data", False, 0)
    own, flipped, upside, constant, blurred = sets.values()
    test = in_fixed_order(digits.x_test)  # a test set may be sorted by class
    np.testing.assert_array_equal(own, test[:50])
    np.testing.assert_array_equal(flipped[:, :, ::-1], test[50:100])
    np.testing.assert_array_equal(upside[:, ::-1], test[50:100])
    assert (constant == constant[:, :1, :1]).all() and len(np.unique(constant)) > 20
    assert blurred.std() < 0.9 * own.std() and abs(blurred.mean() - test[50:100].mean()) < 1
    assert list(sources) == list(sets) and not left_out


def test_sets_that_cannot_be_had_are_left_out_by_default_and_refused_if_asked_for(
    trained, digits, tmp_path, monkeypatch
):
    def load(name, *_):
        raise vl.data.UnavailableError(f"no {name} here")

    monkeypatch.setattr(ood, "load_image_list", load)
    sets, _, left_out = ood._sets(trained[0], digits, None, 20, tmp_path, False, 0)
    assert left_out == {"MNIST": "no mnist here", "Fashion-MNIST": "no fashion_mnist here"}
    assert list(sets) == ["digits", *ood.SET_TITLES.values()]
    with pytest.raises(InputError, match="no mnist here"):
        ood._sets(trained[0], digits, ["mnist"], 20, tmp_path, False, 0)


def test_the_text_names_what_is_likelier_and_what_tells_it_apart_and_all_is_written(found, tmp_path):
    found, path = found
    table = found.table.copy()
    table.loc[table["outside"] == path, "auroc"] = [0.1, 0.1, 0.7, 0.99, 0.01, 0.6, 0.8]
    shown = ood.as_text(dataclasses.replace(found, table=table))
    first = f"likelier than the run's own images: {path}; best told apart by complexity 0.990, mahalanobis"
    assert first in shown and "0.100 ±" in shown and shown.index("-ELBO: ") > shown.index(first)
    ood.write(found, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"ood.csv", "ood_images.csv", "ood.png", "ood.svg"}
    written = pd.read_csv(tmp_path / "ood.csv")
    np.testing.assert_allclose(written["auroc"], found.table["auroc"], atol=1e-5)
    assert len(pd.read_csv(tmp_path / "ood_images.csv")) == 4 * 80


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_images": 0}, "n_images must be 1 or more"),
        ({"iwae_k": -1}, "iwae_k 0 or more; received 2000 and -1"),
        ({"against": ["no/such"]}, "no data set 'no/such'"),
    ],
)
def test_bad_arguments_are_refused(settings, message, trained, digits):
    with pytest.raises(InputError, match=message):
        ood.compare(trained[0], digits, **settings)


def test_one_image_a_side_has_an_auroc_without_an_interval(trained, digits, tmp_path):
    found = ood.compare(trained[0], digits, ["noise"], n_images=1, iwae_k=0)
    ood.write(found, tmp_path)
    assert "nan" not in ood.as_text(found) and (tmp_path / "ood.png").exists()


def test_what_a_run_was_not_trained_on_is_no_reference(trained, digits):
    found, cut = (
        ood.compare(trained[0], data, ["noise"], 40) for data in (digits, digits.subset(n_train=640))
    )
    pd.testing.assert_frame_equal(found.images, cut.images)


def test_the_table_to_read_has_the_cost_and_each_auroc_with_its_interval_in_the_order_of_the_comparison():
    rows = [("b", "elbo", 0.9), ("b", "png", 0.5), ("a", "elbo", 0.124), ("a", "png", 1.0)]
    table = pd.DataFrame(rows, columns=["outside", "score", "auroc"]).assign(half_width=0.016)
    images = pd.DataFrame({"set": ["own", "a", "a", "b"], "cost": [9.0, 1.0, 3.0, 5.0]})
    frame = ood.as_frame(ood.Comparison(["run"], table, images, {}, "bits/dim", {}))
    assert frame.index.tolist() == ["b", "a"] and frame["bits/dim"].tolist() == [5.0, 2.0]
    assert frame.columns.tolist() == ["bits/dim", "−ELBO", "PNG alone"]
    assert frame.loc["a"].tolist()[1:] == ["0.12 ±0.02", "1.00 ±0.02"]
