import keras
import numpy as np
import pytest
import tensorflow as tf

from vae_lib.latent_space import fit_mixture_prior
from vae_lib.metrics.elbo import iwae
from vae_lib.models.hierarchical import HierarchicalVAE
from vae_lib.models.vae import VAE
from vae_lib.training.mixture import KeptMixture, generate
from vae_lib.utils.errors import InputError


def small_vae(image_shape=(8, 8, 1), **options):
    return HierarchicalVAE(image_shape, **{"latent_dim": 3, "width": 2, "dense_units": 16, **options})


def images(shape, n=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype="uint8")


def trained(shape=(8, 8, 1), **options):
    """Return a model after a few steps, whose priors and posteriors have left their first values."""
    vae, x = small_vae(shape, **options), images(shape, 16)
    vae.compile(keras.optimizers.Adam(1e-2))
    vae.fit(
        x, np.arange(16) % options["num_classes"] if "num_classes" in options else None, epochs=4, verbose=0
    )
    return vae


def test_with_z_1_alone_it_is_the_flat_vae():
    flat = VAE((8, 8, 1), latent_dim=3, width=4, dense_units=16)
    vae = small_vae(scale_latents=())
    assert [v.shape for v in vae.trainable_variables] == [v.shape for v in flat.trainable_variables]
    for mine, theirs in zip(vae.trainable_variables, flat.trainable_variables, strict=True):
        mine.assign(theirs)
    for name in ("z_mean", "z_log_var"):  # of equal shapes, in either order
        vae.encoder.get_layer(name).set_weights(flat.encoder.get_layer(name).get_weights())
    x = images((8, 8, 1))
    mine, theirs = vae.elbo_terms(x, seed=5), flat.elbo_terms(x, seed=5)
    for name, values in theirs.items():
        np.testing.assert_allclose(mine[name], values, rtol=1e-6)
    np.testing.assert_array_equal(vae.reconstruct(x), flat.reconstruct(x))
    np.testing.assert_array_equal(vae.sample(4, seed=1), flat.sample(4, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (33, 17, 3), (9, 40, 4)])
def test_every_size_has_its_scales_and_their_rates_sum_to_the_rate(shape):
    vae, x = small_vae(shape), images(shape, 3)
    latents = vae.encode_scales(x)
    assert latents[0].shape == (3, 3)
    sizes = [(h, w) for h, w in (scale.size for scale in vae.scales)]
    assert [z.shape[1:3] for z in latents[1:]] == sizes and max(sizes[0]) <= 4
    terms = vae.elbo_terms(x)
    assert vae.rate_names == ["rate_1x1", *(f"rate_{h}x{w}" for h, w in sizes)]
    np.testing.assert_allclose(sum(terms[name] for name in vae.rate_names), terms["rate"], rtol=1e-6)
    for out in (vae.reconstruct(x), vae.sample(3), vae.decode(latents[0], draw=True)):
        assert out.shape == x.shape and out.dtype == np.uint8
    assert vae.interpolate(x[:2], x[1:], steps=5).shape == (2, 5, *shape)


def test_where_the_posterior_is_the_prior_the_rate_is_zero():
    vae = trained()
    for block in vae.blocks:
        for variable in block.offset_net.variables:
            variable.assign(tf.zeros_like(variable))
    for name in ("z_mean", "z_log_var"):
        for variable in vae.encoder.get_layer(name).variables:
            variable.assign(tf.zeros_like(variable))
    terms = vae.elbo_terms(images((8, 8, 1)))
    assert np.abs(terms["rate"]).max() < 1e-4 < np.abs(vae.blocks[0].prior_net.get_weights()[0]).max()


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["normal", "flow"])
def test_closed_form_rates_agree_with_draws_and_iwae_at_1_is_the_elbo(prior):
    vae, x = trained(prior=prior), images((8, 8, 1), 2)
    elbo = np.mean([vae.elbo_terms(x, seed=seed)["elbo"] for seed in range(100)], axis=0)
    weights = vae.log_weights(x, n_samples=4000, seed=1)
    error = 4 * weights.std(axis=1) * np.sqrt(1 / 4000 + 1 / 100)
    assert (np.abs(weights.mean(axis=1) - elbo) < error).all()
    at_one = np.mean([iwae(vae.log_weights(x, n_samples=1, seed=seed)) for seed in range(100)], axis=0)
    assert (np.abs(at_one - elbo) < error * np.sqrt(2)).all()
    assert (iwae(weights) > elbo).all()


@pytest.mark.parametrize("options", [{}, {"num_classes": 3}, {"prior": "flow", "image_shape": (8, 12, 3)}])
def test_every_trainable_variable_gets_a_gradient(options):
    shape = options.pop("image_shape", (8, 8, 1))
    vae = small_vae(shape, **options)
    for variable in vae.trainable_variables:  # zeros would hide what comes before them
        variable.assign_add(0.1 * tf.random.stateless_normal(variable.shape, [1, 2]))
    y = np.arange(6) % 3 if vae.num_classes else None
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(vae._losses_of(vae._elbo_terms(images(shape), y, training=True)))
    gradients = tape.gradient(loss, vae.trainable_variables)
    for variable, gradient in zip(vae.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.abs(gradient).max() > 0, variable.path


@pytest.mark.slow
def test_saved_and_reloaded_it_gives_the_same_bits(tmp_path):
    vae, x = trained((9, 13, 3), scale_blocks=(1, 2), scale_latents=(3, 2)), images((9, 13, 3))
    vae.save(tmp_path / "vae.keras")
    twin = keras.saving.load_model(tmp_path / "vae.keras")
    assert twin.to_json() == vae.to_json() and float(twin.usual_norm) == float(vae.usual_norm) > 0
    np.testing.assert_array_equal(vae.reconstruct(x), twin.reconstruct(x))
    np.testing.assert_array_equal(vae.sample(4, seed=1), twin.sample(4, seed=1))


@pytest.mark.slow
def test_mixed_levels_take_coarse_latents_from_one_image_and_fine_ones_from_the_other():
    vae = trained((16, 16, 1))
    top, bottom = images((16, 16, 1), 3, seed=1), images((16, 16, 1), 3, seed=2)
    np.testing.assert_array_equal(vae.mix_levels(top, bottom, 0), vae.reconstruct(bottom))
    np.testing.assert_array_equal(vae.mix_levels(top, bottom, 3), vae.reconstruct(top))
    mixed = [*vae.encode_scales(top)[:1], *vae.encode_scales(bottom)[1:]]
    np.testing.assert_array_equal(vae.mix_levels(top, bottom, 1), vae.decode_scales(mixed))
    with pytest.raises(InputError, match="split must be an integer from 0 to 3; received 4"):
        vae.mix_levels(top, bottom, 4)
    for method in (lambda a, b: vae.mix_levels(a, b, 1), vae.interpolate):
        with pytest.raises(InputError, match="as many images; received 1 and 3"):
            method(top[:1], bottom)


@pytest.mark.slow
def test_the_ends_of_an_interpolation_are_the_reconstructions():
    vae, x = trained(), images((8, 8, 1))
    path = vae.interpolate(x[:2], x[2:4], steps=4)
    np.testing.assert_array_equal(path[:, 0], vae.reconstruct(x[:2]))
    np.testing.assert_array_equal(path[:, -1], vae.reconstruct(x[2:4]))


@pytest.mark.slow
def test_at_temperature_0_finer_latents_are_the_means_of_their_priors():
    vae = trained()
    z = vae.sample_prior(3, seed=1)
    still = vae.decode(z, temperature=0.0, seed=1)
    np.testing.assert_array_equal(still, vae.decode(z, temperature=0.0, seed=2))
    assert (still != vae.decode(z, seed=2)).any()


def test_the_temperature_reaches_finer_latents_under_the_mixture_too():
    vae, z = trained(), np.random.default_rng(0).standard_normal((50, 3))
    kept = KeptMixture(fit_mixture_prior(z, z, n_components=(1,)), {"model": 1.0, "mixture": 0.0})
    still = [generate(vae, 3, kept=kept, prior="mixture", seed=seed, temperature=0.0) for seed in (1, 2)]
    np.testing.assert_array_equal(*still)


def test_a_wild_gradient_is_skipped_and_counted():
    vae, x = trained(), images((8, 8, 1), 4)
    before, usual = [v.numpy() for v in vae.trainable_variables], float(vae.usual_norm)
    vae.usual_norm.assign(1e-3 * usual)
    assert vae.fit(x, batch_size=4, verbose=0).history["skipped"] == [1.0]
    for variable, value in zip(vae.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    vae.usual_norm.assign(usual)
    assert vae.fit(x, batch_size=4, verbose=0).history["skipped"] == [0.0]
    assert any((v.numpy() != b).any() for v, b in zip(vae.trainable_variables, before, strict=True))


def test_no_sample_is_an_empty_array_and_fewer_are_refused():
    vae = small_vae()
    assert vae.sample(0).shape == (0, 8, 8, 1)
    with pytest.raises(InputError, match="whole number from 0; received -1"):
        vae.sample(-1)


def test_scales_without_latents_are_passed_through_and_too_many_are_refused():
    vae = small_vae((28, 28, 1), scale_latents=(5,))
    assert vae.rate_names == ["rate_1x1", "rate_4x4"] and vae.scales[0].latents == 5
    with pytest.raises(
        InputError, match="scale_latents must be one integer for each scale, of 4x4, or fewer; received 2"
    ):
        small_vae((8, 8, 1), scale_latents=(5, 5))
    with pytest.raises(InputError, match="HierarchicalVAE"):
        VAE((8, 8, 1), network="hierarchical")


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"num_classes": 3}, {"scale_latents": (2,)}])
def test_the_elbo_by_scale_ends_with_the_elbo_and_coarse_ones_do_not_see_finer_posteriors(options):
    vae, x = trained((16, 16, 1), **options), images((16, 16, 1))
    y = np.arange(6) % 3 if options.get("num_classes") else None
    before = vae.elbo_by_scale(x, y, seed=3)
    names = list(before)
    assert names == [name.removeprefix("rate_") for name in vae.rate_names]
    np.testing.assert_allclose(before[names[-1]], vae.elbo_terms(x, y, seed=3)["elbo"], rtol=1e-5)
    finest = vae.blocks[-1].offset_net.trainable_variables[-1]
    finest.assign(finest + 1.0)
    after = vae.elbo_by_scale(x, y, seed=3)
    for name in names[:-1]:
        np.testing.assert_array_equal(after[name], before[name])
    assert np.abs(after[names[-1]] - before[names[-1]]).min() > 0.1


def test_where_finer_posteriors_are_the_priors_every_elbo_by_scale_is_the_whole():
    vae, x = small_vae((16, 16, 1)), images((16, 16, 1))
    for block in vae.blocks:
        for variable in block.offset_net.trainable_variables:
            variable.assign(0.0 * variable)
    bounds = vae.elbo_by_scale(x)
    for bound in bounds.values():
        np.testing.assert_allclose(bound, vae.elbo_terms(x)["elbo"], rtol=1e-4)
