import dataclasses

import numpy as np
import pytest

from vae_lib.config import TrainConfig
from vae_lib.evaluation.image_scores import reference_elbos
from vae_lib.models.vae import VAE
from vae_lib.training.mixture import KeptMixture, keep_mixture
from vae_lib.training.run import load_run
from vae_lib.training.trainer import train
from vae_lib.utils.errors import InputError

pytestmark = pytest.mark.slow

CONFIG = TrainConfig(
    dataset="digits", latent_dim=6, epochs=10, batch_size=64, width=8, dense_units=32, learning_rate=1e-2
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, digits):
    """Return an unconditional and a conditional run, by whether they are conditional."""
    folder = tmp_path_factory.mktemp("models")
    configs = (dataclasses.replace(CONFIG, conditional=given, prior="normal") for given in (False, True))
    return [train(config, digits, models_dir=folder, verbose=0) for config in configs]


def nearest_class(images, data):
    """Return the class whose mean training image is nearest."""
    means = np.stack([data.x_train[data.y_train == label].mean(axis=0) for label in range(10)])
    return np.square(images[:, None].astype(float) - means).sum(axis=(2, 3, 4)).argmin(axis=1)


@pytest.mark.parametrize("conditional", [False, True])
def test_the_mixture_of_each_class_gives_the_class_asked_for(conditional, runs, digits):
    run, y = runs[conditional], np.repeat(np.arange(10), 20)
    images = run.sample(200, y, prior="mixture", data=digits)
    assert images.shape == (200, 8, 8, 1) and images.dtype == np.uint8
    obeyed = np.mean(nearest_class(images, digits) == y)
    assert obeyed > 0.6
    kept = run.mixture()
    assert len(kept.mixture.mixtures) == 10
    if not conditional:  # whose prior knows no classes
        assert kept.better == "mixture"


def test_it_is_fitted_once_and_kept_with_the_run(runs, digits):
    run = runs[0]
    first = run.sample(5, prior="mixture", seed=2, data=digits)
    path = run.directory / "mixture.npz"
    before = path.read_bytes()
    again = load_run(run.directory)
    np.testing.assert_array_equal(again.sample(5, prior="mixture", seed=2), first)
    np.testing.assert_array_equal(again.sample(5, seed=2), first)  # the better of the two
    assert path.read_bytes() == before
    np.testing.assert_array_equal(again.sample(5, prior="model", seed=2), again.model().sample(5, seed=2))


def test_images_of_another_set_are_refused_and_nothing_is_kept(runs, digits, tmp_path):
    run = train(dataclasses.replace(CONFIG, epochs=1), digits, models_dir=tmp_path, verbose=0)
    with pytest.raises(InputError, match=r"are not those that .* was trained on"):
        run.sample(2, prior="mixture", data=dataclasses.replace(digits, x_train=digits.x_train[::-1]))
    assert not run.has_mixture
    with pytest.raises(InputError, match="prior must be model or mixture; received 'flow'"):
        run.sample(2, prior="flow", data=digits)
    with pytest.raises(InputError, match="whole number from 0; received -1"):
        run.sample(-1, prior="mixture", data=digits)


def test_a_damaged_file_says_so(runs, digits):
    run = runs[1]
    path = run.directory / "mixture.npz"
    run.mixture(digits)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"mixture\.npz is damaged .*remove it"):
            run.mixture()
    path.write_bytes(whole)
    with pytest.raises(InputError, match="codes of 6 latents, not 4"):
        KeptMixture.load(path, latent_dim=4)


def test_a_flipped_bit_in_what_a_run_keeps_is_one_line_or_does_not_matter(runs, digits):
    run = runs[1]
    run.mixture(digits)
    reference_elbos(run, digits)
    readers = {
        "mixture.npz": run.mixture,
        "reference.npz": lambda: reference_elbos(run),
        "model.keras": run.model,
    }
    for name, read in readers.items():
        path = run.directory / name
        whole, refused = path.read_bytes(), 0
        for place in np.random.default_rng(0).integers(0, len(whole), 6 if name == "model.keras" else 100):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
            try:
                read()
            except InputError as error:
                refused += 1
                assert name in str(error) and "\n" not in str(error)
        path.write_bytes(whole)
        assert refused and read() is not None


def test_of_one_validation_image_no_prior_is_preferred(digits):
    one = dataclasses.replace(digits.subset(n_train=50, n_val=1), y_train=None, y_val=None, y_test=None)
    kept = keep_mixture(VAE((8, 8, 1), latent_dim=2, width=4, dense_units=8), one)
    assert np.isnan(list(kept.distances.values())).all() and kept.better == "model"
