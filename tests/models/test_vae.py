import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from vae_lib.models.likelihoods import LIKELIHOODS
from vae_lib.models.networks import Sampling, bounded_log_var, stage_sizes
from vae_lib.models.vae import VAE, binarize_images, class_labels
from vae_lib.utils.errors import InputError

SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3), (9, 13, 2), (48, 40, 3), (33, 128, 4), (127, 8, 1)]


def small_vae(image_shape=(8, 8, 1), **options):
    return VAE(image_shape, **{"latent_dim": 3, "width": 4, "dense_units": 16, **options})


def images(shape, n=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype="uint8")


def test_initial_weights_follow_the_seed_and_no_global_generator():
    weights = []
    for seed, around in ((0, 1), (0, 2), (1, 1)):
        keras.utils.set_random_seed(around)
        vae = small_vae(prior="flow", seed=seed)
        kernels = [layer.kernel for layer in vae.encoder.layers if hasattr(layer, "kernel")]
        weights.append([variable.numpy() for variable in vae.trainable_variables])
        for kernel in kernels[1:]:  # Glorot's uniform distribution
            fans = np.prod(kernel.shape[:-2], dtype=int) * (kernel.shape[-2] + kernel.shape[-1])
            assert 0.8 < np.std(kernel) / np.sqrt(2 / fans) < 1.2
    first, again, other = weights
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True) if a.any())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_any_size_goes_in_and_comes_out(shape, likelihood):
    vae = small_vae(shape, likelihood=likelihood)
    x = images(shape, 3)
    z_mean, z_log_var = vae.encode(x)
    assert z_mean.shape == z_log_var.shape == (3, 3)
    for out in (vae.reconstruct(x), vae.sample(3), vae.decode(z_mean, draw=True)):
        assert out.shape == x.shape and out.dtype == np.uint8
    assert vae.interpolate(x[:2], x[1:], steps=5).shape == (2, 5, *shape)


def test_stages_halve_and_round_up_to_at_most_four():
    assert stage_sizes((28, 28, 1)) == [(28, 28), (14, 14), (7, 7), (4, 4)]
    assert stage_sizes((48, 40, 3))[-1] == (3, 3)
    assert len(stage_sizes((128, 128, 3))) == 6


@pytest.mark.parametrize("shape", [(8, 8, 1), (33, 128, 4)])
def test_every_trainable_variable_gets_a_gradient(shape):
    vae = small_vae(shape)
    with tf.GradientTape() as tape:
        terms = vae._elbo_terms(images(shape), training=True)
        loss = tf.reduce_mean(terms["distortion"] + vae.beta * terms["rate"])
    for variable, gradient in zip(
        vae.trainable_variables, tape.gradient(loss, vae.trainable_variables), strict=True
    ):
        assert gradient is not None and np.abs(gradient).max() > 0, variable.path


def test_rate_is_the_closed_form_kl_and_agrees_with_monte_carlo():
    vae = small_vae()
    x = images((8, 8, 1), 2)
    z_mean, z_log_var = (np.asarray(a, dtype="float64") for a in vae.encode(x))
    rate = vae._elbo_terms(x, training=False)["rate"]
    eps = np.random.default_rng(1).standard_normal((200_000, 1, 3))
    z = z_mean + np.exp(z_log_var / 2) * eps
    log_q = -0.5 * (eps**2 + z_log_var).sum(-1)
    log_p = -0.5 * (z**2).sum(-1)
    np.testing.assert_allclose(rate, (log_q - log_p).mean(0), atol=0.01)


def test_losses_are_sums_over_pixels_and_means_over_the_batch():
    vae = small_vae(likelihood="bernoulli")
    for variable in vae.decoder.trainable_variables:
        variable.assign(tf.zeros_like(variable))  # every logit 0: each pixel costs log 2
    terms = vae._elbo_terms(images((8, 8, 1), 5), training=False)
    np.testing.assert_allclose(terms["distortion"], np.full(5, 64 * np.log(2)), rtol=1e-6)
    np.testing.assert_allclose(terms["elbo"], -(terms["distortion"] + terms["rate"]), rtol=1e-6)


def test_fit_validates_and_calls_keras_callbacks():
    vae, x, seen = small_vae(), images((8, 8, 1), 12), []
    vae.compile(keras.optimizers.Adam(1e-3))
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append((epoch, logs)))
    stop = keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=1)  # the loss only falls
    history = vae.fit(
        x, validation_data=(x[:4],), epochs=5, batch_size=4, verbose=0, callbacks=[watch, stop]
    ).history
    names = {"loss", "distortion", "rate", "val_loss", "val_distortion", "val_rate"}
    assert set(history) == names and [epoch for epoch, _ in seen] == [0, 1]
    assert seen[1][1]["val_rate"] == history["val_rate"][1]
    assert vae.fit(x, validation_data=x[:4], verbose=0).history.keys() == names


def test_fit_reports_the_trackers_and_weighs_a_ragged_batch_by_its_size():
    vae = small_vae()
    vae.compile(optimizer=keras.optimizers.SGD(0.0))
    x = images((8, 8, 1), 10)
    history = vae.fit(x, batch_size=4, epochs=1, verbose=0, shuffle=False)
    assert set(history.history) == {"loss", "distortion", "rate"}
    exact = float(np.mean(vae._elbo_terms(x, training=False)["rate"]))
    assert history.history["rate"][0] == pytest.approx(exact, rel=1e-5)
    evaluated = vae.evaluate(x, batch_size=3, verbose=0, return_dict=True)
    assert evaluated["rate"] == pytest.approx(exact, rel=1e-5)


def test_beta_weighs_the_rate_in_the_loss_and_only_there():
    vae = small_vae(beta=4.0)
    vae.compile(optimizer=keras.optimizers.SGD(0.0))
    logs = vae.evaluate(images((8, 8, 1), 8), verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["distortion"] + 4.0 * logs["rate"], rel=1e-5)


def test_training_lowers_the_loss():
    vae = small_vae(likelihood="bernoulli")
    vae.compile(optimizer=keras.optimizers.Adam(1e-2))
    x = np.repeat(255 * (images((8, 8, 1), 2) // 128), 64, axis=0)
    losses = vae.fit(x, batch_size=32, epochs=25, verbose=0).history["loss"]
    assert losses[-1] < 0.2 * losses[0]  # two binary images: about log 2 nats are enough


@pytest.mark.parametrize("prior", ["normal", "flow"])
def test_a_clone_and_a_model_from_json_have_the_same_arguments_and_first_weights(prior):
    vae = small_vae((9, 13, 3), prior=prior, beta=2, num_classes=4, seed=3)
    for twin in (keras.models.clone_model(vae), keras.models.model_from_json(vae.to_json())):
        assert isinstance(twin, VAE) and twin.to_json() == vae.to_json()
        for mine, theirs in zip(vae.trainable_variables, twin.trainable_variables, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert vae.get_config().items() >= {"latent_dim": 3, "width": 4, "seed": 3, "num_classes": 4}.items()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_saved_and_reloaded_it_gives_the_same_bits(tmp_path, likelihood):
    vae = small_vae((9, 13, 3), likelihood=likelihood, beta=2.0)
    vae.compile(optimizer=keras.optimizers.Adam(1e-3))
    x = images((9, 13, 3), 16)
    vae.fit(x, epochs=1, verbose=0)
    vae.save(tmp_path / "vae.keras")
    twin = keras.saving.load_model(tmp_path / "vae.keras")
    assert isinstance(twin, VAE) and float(twin.beta) == 2.0 and twin.likelihood.name == likelihood
    for mine, theirs in zip(vae.encode(x), twin.encode(x), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(vae.reconstruct(x), twin.reconstruct(x))
    for mine, theirs in zip(vae.optimizer.variables, twin.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_sampling_has_the_mean_and_variance_it_is_given_and_can_be_reseeded():
    sampling = Sampling(seed=3)
    z_mean = np.tile(np.array([1.0, -2.0], dtype="float32"), (50_000, 1))
    z_log_var = np.tile(np.log(np.array([0.25, 4.0], dtype="float32")), (50_000, 1))
    z = np.asarray(sampling(z_mean, z_log_var))
    np.testing.assert_allclose(z.mean(0), [1.0, -2.0], atol=0.04)
    np.testing.assert_allclose(z.var(0), [0.25, 4.0], rtol=0.04)
    sampling.reseed(3, 7)
    first, second = np.asarray(sampling(z_mean, z_log_var)), np.asarray(sampling(z_mean, z_log_var))
    sampling.reseed(3, 7)
    np.testing.assert_array_equal(first, sampling(z_mean, z_log_var))
    sampling.reseed(3, 8)  # one draw a step: step 8 is the draw after that of step 7
    np.testing.assert_array_equal(second, sampling(z_mean, z_log_var))


def test_log_variance_is_bounded_softly():
    x = tf.Variable([-1e4, -5.0, 0.0, 5.0, 1e4])
    with tf.GradientTape() as tape:
        y = bounded_log_var(x)
    assert np.abs(y).max() <= 10.0
    assert (np.asarray(tape.gradient(y, x))[1:4] > 0.5).all()


def test_integers_are_read_as_0_to_255_and_floats_as_they_are():
    vae = small_vae()
    x = images((8, 8, 1))
    unit = x.astype("float32") / np.float32(255)
    np.testing.assert_allclose(vae.encode(x)[0], vae.encode(unit)[0], atol=1e-5)


def test_interpolation_begins_and_ends_at_the_reconstructions():
    vae = small_vae()
    x = images((8, 8, 1), 4)
    path = vae.interpolate(x[:2], x[2:], steps=4)
    np.testing.assert_array_equal(path[:, 0], vae.reconstruct(x[:2]))
    np.testing.assert_array_equal(path[:, -1], vae.reconstruct(x[2:]))


def test_samples_depend_on_the_seed_and_on_nothing_else():
    vae = small_vae()
    np.testing.assert_array_equal(vae.sample(4, seed=1, draw=True), vae.sample(4, seed=1, draw=True))
    assert (vae.sample(4, seed=1, temperature=3.0) != vae.sample(4, seed=2, temperature=3.0)).any()


def test_labels_are_integers_however_they_were_given():
    assert class_labels([0.0, 1.0], 2, 2).dtype.kind == class_labels(1, 2, 2).dtype.kind == "i"


def test_a_conditional_model_uses_the_label_on_both_sides():
    vae = small_vae(num_classes=3)
    x, y = images((8, 8, 1), 4), np.array([0, 1, 2, 0])
    z_mean, _ = vae.encode(x, y)
    assert np.abs(z_mean - vae.encode(x, (y + 1) % 3)[0]).max() > 1e-4
    z = np.zeros((4, 3))
    assert (vae.decode(z, np.zeros(4)) != vae.decode(z, np.ones(4))).any()
    assert vae.sample(4, y).shape == vae.interpolate(x, x[::-1], steps=1, y=y)[:, 0].shape == x.shape
    vae.compile(optimizer=keras.optimizers.Adam(1e-3))
    assert np.isfinite(vae.fit(x, y, verbose=0).history["loss"][0])


def test_binarised_images_have_the_grey_levels_as_probabilities_and_are_drawn_once():
    x = np.full((500, 8, 8, 1), 51, dtype="uint8")
    drawn = binarize_images(x)
    assert set(np.unique(drawn)) == {0, 255}
    assert (drawn == 255).mean() == pytest.approx(0.2, abs=0.01)
    np.testing.assert_array_equal(drawn, binarize_images(x))
    np.testing.assert_array_equal(binarize_images(drawn), drawn)
    np.testing.assert_array_equal(small_vae(likelihood="bernoulli", binarize=True).as_observed(x), drawn)
    assert small_vae().as_observed(x) is x


def test_binarised_pixels_are_drawn_again_with_the_grey_levels_as_probabilities():
    vae = small_vae(likelihood="bernoulli", binarize=True)
    for variable in vae.decoder.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    vae.decoder.trainable_variables[-1].assign([10.0])  # a black pixel costs 10 nats, a white one nothing
    x = np.full((400, 8, 8, 1), 64, dtype="uint8")
    first, second = (vae.elbo_terms(x, seed=seed)["distortion"] for seed in (0, 1))
    assert (first != second).any()
    np.testing.assert_array_equal(first, vae.elbo_terms(x, seed=0)["distortion"])
    assert first.mean() == pytest.approx(64 * 10 * (1 - 64 / 255), rel=0.01)


@pytest.mark.parametrize("prior", ["normal", "flow"])
def test_mean_log_weight_is_the_elbo(prior):
    vae = small_vae(prior=prior)
    x = images((8, 8, 1), 3)
    weights = vae.log_weights(x, n_samples=4000)
    assert weights.shape == (3, 4000)
    elbo = np.mean(
        [vae.elbo_terms(np.repeat(x, 500, 0), seed=s)["elbo"].reshape(3, 500).mean(1) for s in range(8)], 0
    )
    error = weights.std(axis=1) / np.sqrt(4000)
    np.testing.assert_allclose(weights.mean(axis=1), elbo, atol=float(8 * error.max()))


def test_samples_of_a_flow_prior_pass_through_the_flow():
    vae = small_vae(prior="flow")
    plain = vae.sample(5, seed=0)
    for variable in vae.prior.trainable_variables:
        variable.assign(tf.random.stateless_normal(variable.shape, seed=[1, 2]))
    assert (vae.sample(5, seed=0) != plain).any()


def test_images_codes_and_labels_that_do_not_fit_are_refused_in_one_line():
    plain, labelled = small_vae(), small_vae(num_classes=3)
    x = images((8, 8, 1), 2)
    for call, words in (
        (lambda: plain.encode(x[:, :7]), r"\(2, 7, 8, 1\)"),
        (lambda: plain.elbo_terms(x.astype("float32")), r"\[0, 1\]; received .*255"),
        (lambda: plain.decode(np.zeros((2, 4))), r"\(2, 4\)"),
        (lambda: plain.sample(2, y=[0, 1]), "num_classes=0"),
        (lambda: labelled.sample(2), "needs labels y: 2 integers from 0 to 2, .* received None"),
        (lambda: labelled.sample(2, y=[0, 3]), r"0 to 2, or one for all; received \[0, 3\]"),
        (lambda: labelled.sample(2, y=[0, 1, 2]), "2 integers"),
        (lambda: labelled.encode(x, y=[0.5, 1.0]), "2 integers"),
        (lambda: labelled.encode(x, y=["0", "1"]), "2 integers"),
        (lambda: labelled.encode(x, y=[True, False]), "2 integers"),
    ):
        with pytest.raises(InputError, match=words) as error:
            call()
        assert "\n" not in str(error.value)


def test_one_label_serves_all_images():
    vae = small_vae(num_classes=3)
    assert np.array_equal(vae.sample(4, y=2, seed=1), vae.sample(4, y=[2] * 4, seed=1))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"network": "cnn"}, "conv, resnet, mlp, hierarchical; received 'cnn'"),
        ({"image_shape": (4, 4, 1)}, "8 to 256"),
        ({"image_shape": (8, 8, 5)}, "1 to 4 channels"),
        ({"image_shape": (8, 8)}, "height, width, channels"),
        ({"binarize": True}, "bernoulli"),
        ({"likelihood": "gauss"}, "gauss"),
        ({"prior": "cauchy"}, "cauchy"),
        ({"prior": "flow", "latent_dim": 1}, "latent_dim of at least 2"),
        ({"latent_dim": 0}, "latent_dim must be an integer from 1 to 4096; received 0"),
        ({"beta": -1.0}, "beta must be a finite number"),
    ],
)
def test_arguments_that_make_no_model_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        small_vae(**options)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.full((4, 8, 8, 1), 200.0), {}, r"floats must lie in \[0, 1\]; received 200 to 200"),
        (np.full((4, 8, 8, 1), -1.0), {}, r"floats must lie in \[0, 1\]; received -1 to -1"),
        (np.full((4, 8, 8, 1), np.nan), {}, r"floats must lie in \[0, 1\]; received nan"),
        (np.full((4, 8, 8, 1), 300), {}, r"integers must lie in \[0, 255\]; received 300 to 300"),
        (np.full((4, 8, 8, 1), True), {}, "images must be uint8, or floats .* received bool"),
        (np.zeros((0, 8, 8, 1)), {}, "no images: .*give at least one"),
        (np.zeros((4, 9, 8, 1)), {}, "images must be of shape"),
        (np.zeros((4, 8, 8, 1)), {"sample_weight": np.ones(4)}, "leave sample_weight and class_weight out"),
    ],
)
def test_every_door_of_keras_says_what_encode_says(x, options, message):
    vae = VAE((8, 8, 1), latent_dim=2, width=4, dense_units=8)
    vae.compile("adam")
    good, before = np.zeros((4, 8, 8, 1), "float32"), vae.get_weights()
    doors = [
        lambda: vae.fit(x, verbose=0, **options),
        lambda: vae.fit(good, validation_data=(x, None, *options.values()), verbose=0),
        lambda: vae.evaluate(x, verbose=0, **options),
        lambda: vae.fit(tf.data.Dataset.from_tensors((x, None, 1.0) if options else x), verbose=0),
        *([] if options else [lambda: vae.predict(x, verbose=0), lambda: vae.encode(x)]),
    ]
    for door in doors:
        with pytest.raises(InputError, match=message):
            door()
    assert all(map(np.array_equal, before, vae.get_weights()))


def test_labels_that_do_not_fit_are_refused_by_fit_and_predict_names_the_way():
    vae = VAE((8, 8, 1), latent_dim=2, width=4, dense_units=8, num_classes=3)
    vae.compile("adam")
    x = np.zeros((4, 8, 8, 1), "float32")
    for y in (None, np.array([0, 1, 2, 3]), np.eye(3)[[0, 1, 2, 0]], np.zeros((4, 1), int)):
        with pytest.raises(InputError, match="a conditional model needs labels y: 4 integers from 0 to 2"):
            vae.fit(x, y, verbose=0)
    with pytest.raises(InputError, match=r"use reconstruct\(x, y\)"):
        vae.predict(x)


def test_no_samples_are_an_empty_array_and_half_a_sample_is_refused():
    vae = VAE((8, 8, 1), latent_dim=2, width=4, dense_units=8)
    assert vae.sample(0).shape == vae.sample(0, draw=True).shape == (0, 8, 8, 1)
    for n in (-1, 1.5, "2"):
        with pytest.raises(InputError, match="whole number from 0; received"):
            vae.sample(n)


def test_masks_of_0_and_1_are_warned_of_at_every_door_and_dark_images_are_not():
    vae = VAE((8, 8, 1), latent_dim=2, width=4, dense_units=8)
    vae.compile("adam")
    masks = (images((8, 8, 1), n=4) > 99).astype("uint8")
    for x in (masks, masks.astype("int64")):
        for door in (vae.encode, vae.fit, vae.evaluate, vae.predict):
            with pytest.warns(UserWarning, match="give masks as 255"):
                door(x) if door == vae.encode else door(x, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (0 * masks, 2 * masks, 255 * masks, masks.astype("float32")):
            vae.encode(x)
