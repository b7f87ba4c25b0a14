import dataclasses

import numpy as np
import pytest

from vae_lib.config import TrainConfig
from vae_lib.data.image_list import ImageList
from vae_lib.evaluation.image_scores import likeliest_labels, reference_elbos, score_images
from vae_lib.evaluation.new_images import write_new_codes, write_scores
from vae_lib.metrics.reconstruction import psnr
from vae_lib.models.vae import NOISE_SEED, VAE
from vae_lib.training.trainer import train
from vae_lib.utils.errors import InputError

SIZES = {"latent_dim": 3, "width": 4, "dense_units": 16}


@pytest.fixture(scope="module")
def own(tmp_path_factory, digits):
    """A conditional run on 200 digits, and these."""
    data = digits.subset(100, 20, 80)
    config = TrainConfig(dataset="digits", epochs=1, batch_size=50, n_train=100, conditional=True, **SIZES)
    return train(config, data, models_dir=tmp_path_factory.mktemp("models"), verbose=0), data


def test_the_scores_are_the_terms_of_the_elbo_and_what_follows_from_them(digits):
    vae, x = VAE((8, 8, 1), **SIZES), digits.x_test[:20]
    reference = vae.elbo_terms(digits.x_val, seed=NOISE_SEED)["elbo"].astype(float)
    table, again = score_images(vae, x, reference)
    terms = vae.elbo_terms(x, seed=NOISE_SEED)
    for name, values in terms.items():
        np.testing.assert_array_equal(table[name], values)
    bits = -terms["elbo"] / (64 * np.log(2))
    np.testing.assert_allclose(table["bits_per_dim"], bits, rtol=1e-6)
    mean = -reference.mean() / (64 * np.log(2))
    np.testing.assert_allclose(table["typicality"], np.abs(bits - mean), rtol=1e-3)
    less_likely = [100 * np.mean(reference < elbo) for elbo in terms["elbo"]]
    np.testing.assert_allclose(table["percentile"], less_likely)
    assert table["psnr"].mean() == pytest.approx(psnr(x, again)) and "label" not in table
    assert not {"typicality", "percentile"} & set(score_images(vae, x)[0])


def test_without_a_likelihood_of_grey_levels_typicality_is_in_nats(digits):
    vae, x = VAE((8, 8, 1), likelihood="bernoulli", **SIZES), digits.x_test[:5]
    table, _ = score_images(vae, x, np.array([-10.0, -30.0]))
    assert "bits_per_dim" not in table
    np.testing.assert_allclose(table["typicality"], np.abs(table["elbo"] + 20.0))


def test_a_conditional_model_is_given_the_class_under_which_an_image_is_likeliest(digits):
    vae, x = VAE((8, 8, 1), num_classes=3, **SIZES), digits.x_test[:12]
    labels = likeliest_labels(vae, x)
    table, _ = score_images(vae, x)
    of_each = np.stack([vae.elbo_terms(x, label, seed=NOISE_SEED)["elbo"] for label in range(3)])
    np.testing.assert_array_equal(table["label"], of_each.argmax(axis=0))
    assert np.array_equal(labels, table["label"]) and len(set(labels)) > 1


def test_the_reference_is_computed_once_of_the_run_s_own_images_and_kept(own):
    run, data = own
    path = run.directory / "reference.npz"
    with pytest.raises(InputError, match="are not scored yet: pass the data"):
        reference_elbos(run)
    with pytest.raises(InputError, match="are not those that"):
        reference_elbos(run, dataclasses.replace(data, x_test=data.x_test[::-1]))
    assert not run.has_reference
    first = reference_elbos(run, data)
    table, _ = score_images(run.model(), data.x_test)
    np.testing.assert_allclose(first, table["elbo"], rtol=1e-6)
    before = path.read_bytes()
    np.testing.assert_array_equal(reference_elbos(run), first)
    assert path.read_bytes() == before
    for content in (b"", before[:100], before[:-30]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"reference\.npz is damaged .*remove it"):
            reference_elbos(run)
    path.unlink()


def test_labels_are_written_by_name(own, tmp_path):
    run, data = own
    images = ImageList(data.x_test[:6], tuple("abcdef"), "six digits")
    table = write_scores(run, images, tmp_path)
    assert list(table["file"]) == list("abcdef") and set(table["label"]) <= set(data.class_names)
    write_new_codes(run, images, tmp_path)
    codes = np.load(tmp_path / "codes.npz")
    labels = likeliest_labels(run.model(), images.x)
    np.testing.assert_array_equal(codes["z_mean"], run.model().encode(images.x, labels)[0])
    assert codes["files"].tolist() == list("abcdef")
