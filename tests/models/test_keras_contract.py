"""What Keras says of `fit`, dtype policies, regularisation and saving holds for a VAE, or is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from vae_lib.models.networks import make_encoder
from vae_lib.models.vae import VAE
from vae_lib.utils.errors import InputError

SIZES = {"latent_dim": 3, "width": 4, "dense_units": 16}
FLOW = {"prior": "flow", "likelihood": "bernoulli", "binarize": True}
POLICIES = ["mixed_float16", "mixed_bfloat16", "float64"]


def images(n=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 1), dtype="uint8")


@keras.saving.register_keras_serializable(package="tests")
class RegularisedVAE(VAE):
    """A regularizer on every kernel, a loss of the activity of z_mean, and one that a layer adds."""

    penalty = 0.0

    def new_encoder(self, network, width, dense_units):
        encoder = make_encoder(self.image_shape, self.latent_dim, network, width, dense_units)
        for layer in encoder.layers:
            if hasattr(layer, "kernel"):
                layer.kernel.regularizer = keras.regularizers.L2(self.penalty)
        encoder.get_layer("z_mean").activity_regularizer = keras.regularizers.L1(self.penalty)
        return encoder

    def call(self, x, y=None, training=False):
        self.add_loss(keras.ops.convert_to_tensor(7.0 * self.penalty, "float32"))
        return super().call(x, y, training)


def regularised(penalty, **options):
    return type("Regularised", (RegularisedVAE,), {"penalty": penalty})((8, 8, 1), **SIZES, **options)


def test_losses_that_layers_add_are_part_of_the_loss_and_of_nothing_else():
    vae, x = regularised(0.25, beta=2.0), images()
    vae.compile(keras.optimizers.SGD(0.0))
    kernels = [layer.kernel for layer in vae.encoder.layers if hasattr(layer, "kernel")]
    squares, activity = sum(np.square(kernel).sum() for kernel in kernels), np.abs(vae.encode(x)[0]).sum()
    history = vae.fit(x, verbose=0, validation_data=x).history
    for part in ("", "val_"):
        (loss,), (distortion,), (rate,) = (history[part + name] for name in ("loss", "distortion", "rate"))
        added = 0.25 * (7 + squares + activity / len(x))
        assert loss == pytest.approx(distortion + 2 * rate + added, rel=1e-5)


def test_a_step_follows_the_gradient_of_a_regularizer_and_no_losses_change_no_bit():
    x, kernels = images(), {}
    for penalty in (0.0, 0.5):
        vae = regularised(penalty)
        vae.encoder.get_layer("z_mean").activity_regularizer = None
        before = vae.encoder.get_layer("z_mean").kernel.numpy()
        vae.compile(keras.optimizers.SGD(1e-3))
        vae.fit(x, verbose=0, shuffle=False)
        kernels[penalty] = vae.encoder.get_layer("z_mean").kernel.numpy()
    np.testing.assert_allclose(kernels[0.5], kernels[0.0] - 1e-3 * 2 * 0.5 * before, atol=1e-7)
    plain = VAE((8, 8, 1), **SIZES)
    plain.compile(keras.optimizers.SGD(1e-3))
    plain.fit(x, verbose=0, shuffle=False)
    np.testing.assert_array_equal(plain.encoder.get_layer("z_mean").kernel, kernels[0.0])


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("options", [{"network": "mlp"}, pytest.param(FLOW, marks=pytest.mark.slow)])
def test_every_dtype_policy_trains_like_float32(policy, options):
    x, history, before = images(32), {}, keras.config.dtype_policy()
    for name in ("float32", policy):
        keras.config.set_dtype_policy(name)
        try:
            vae = VAE((8, 8, 1), **SIZES, **options)
        finally:
            keras.config.set_dtype_policy(before)
        vae.compile(keras.optimizers.Adam(1e-3))
        history[name] = vae.fit(x, batch_size=16, verbose=0, shuffle=False).history
    kernel = vae.decoder.trainable_variables[0]
    computed, expected = vae.decoder(np.zeros((1, 3), "float32")).dtype, keras.DTypePolicy(policy)
    assert (computed, kernel.dtype) == (expected.compute_dtype, expected.variable_dtype)
    for term, values in history["float32"].items():
        assert history[policy][term] == pytest.approx(values, rel=0.01), term
    scaled = isinstance(vae.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    assert np.isfinite(vae.log_weights(x[:2], n_samples=2)).all()


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_a_model_keeps_its_dtype_policy_and_optimizer_in_a_file(policy, tmp_path):
    vae, x = VAE((8, 8, 1), **SIZES, dtype=policy), images()
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(x, verbose=0)
    vae.save(tmp_path / "vae.keras")
    twin = keras.saving.load_model(tmp_path / "vae.keras")
    assert twin.encoder.compute_dtype == keras.DTypePolicy(policy).compute_dtype
    assert twin.dtype_policy.name == policy and keras.config.dtype_policy().name == "float32"
    np.testing.assert_array_equal(vae.encode(x)[0], twin.encode(x)[0])
    for mine, theirs in zip(vae.optimizer.variables, twin.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("name", ["vae.h5", "vae.hdf5"])
def test_hdf5_is_refused_before_anything_is_written(name, tmp_path):
    with pytest.raises(InputError, match=rf"{name}: .*save it to a file \.keras"):
        VAE((8, 8, 1), **SIZES).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


class Batches(keras.utils.PyDataset):
    """Two batches, the same."""

    def __init__(self, *batch):
        super().__init__()
        self.batch = batch

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.batch


@pytest.mark.parametrize(
    ("y", "received"),
    [
        (np.zeros((4, 1), int), r"an array of shape \(4, 1\)"),
        (np.eye(3)[[0, 1, 2, 0]], r"an array of shape \(4, 3\)"),
        (np.array([0, 1, 2, 3]), r"\[0, 1, 2, 3\]"),
        (np.array([0, 1, 2, -1]), r"\[0, 1, 2, -1\]"),
    ],
)
def test_labels_that_do_not_fit_are_refused_however_they_come(y, received):
    vae, x = VAE((8, 8, 1), num_classes=3, **SIZES), images(4)
    vae.compile("adam")
    before = vae.get_weights()
    for data in (
        (x, y),
        (tf.data.Dataset.from_tensors((x, y)),),
        (tf.data.Dataset.from_tensors((x / np.float32(255), y)),),
        (Batches(x, y),),
        ((batch for batch in [(x, y)]),),
    ):
        with pytest.raises(
            InputError, match=f"labels y: 4 integers from 0 to 2.*; received {received}"
        ) as error:
            vae.fit(*data, verbose=0)
        assert "\n" not in str(error.value)
    for data in ((x, y), tf.data.Dataset.from_tensors((x, y))):
        with pytest.raises(InputError, match="labels y: 4 integers"):
            vae.fit(x, np.zeros(4, int), validation_data=data, verbose=0)
    assert all(map(np.array_equal, before, vae.get_weights()))


def test_batches_with_weights_are_refused_and_good_ones_train_however_they_come():
    vae, x, y = VAE((8, 8, 1), num_classes=3, **SIZES), images(4), np.array([0, 1, 2, 0])
    vae.compile("adam")
    for data in (Batches(x, y, np.ones(4)), (batch for batch in [(x, y, np.ones(4))])):
        with pytest.raises(InputError, match="leave sample_weight and class_weight out"):
            vae.fit(data, verbose=0)
    for data in ((x, 2), (x, y.tolist()), (Batches(x, y),), (tf.data.Dataset.from_tensors((x, y)),)):
        assert np.isfinite(vae.fit(*data, verbose=0).history["loss"]).all()
    batches = (batch for batch in [(x, y)] * 3)
    assert np.isfinite(vae.fit(batches, steps_per_epoch=3, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("num_classes", [0, 3])
def test_export_after_fit_and_predict_gives_a_saved_model_that_takes_what_encode_takes(num_classes, tmp_path):
    vae, x = VAE((8, 8, 1), num_classes=num_classes, **SIZES), images(5)
    labels = (np.arange(5) % 3,) if num_classes else ()
    vae.compile("adam")
    vae.fit(x, *labels, verbose=0)
    if not num_classes:
        vae.predict(x, verbose=0)
    vae.export(tmp_path / "vae", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "vae")
    for given in (x, x / np.float32(255)):
        params, z, z_mean, z_log_var = loaded.serve(given, *labels)
        np.testing.assert_allclose(z_mean, vae.encode(x, *labels)[0], atol=1e-5)
        np.testing.assert_allclose(z_log_var, vae.encode(x, *labels)[1], atol=1e-5)
        assert params.shape == (5, 8, 8, 2) and np.abs(z - z_mean).max() > 0.01
    with pytest.raises(ValueError, match="Could not find matching"):
        loaded.serve(x.astype("int32"), *labels)  # of a dtype that is not known it says so


@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_a_format_without_noise_is_refused_for_the_whole_model(format, tmp_path):
    with pytest.raises(InputError, match=f"'{format}': vae_lib.apps.export_model writes"):
        VAE((8, 8, 1), **SIZES).export(tmp_path / "vae", format=format)


def test_a_signature_of_the_user_is_used(tmp_path):
    vae, x = VAE((8, 8, 1), **SIZES), images(5)
    spec = keras.InputSpec(shape=(None, 8, 8, 1), dtype="float32")
    vae.export(tmp_path / "vae", verbose=False, input_signature=[spec])
    loaded = tf.saved_model.load(tmp_path / "vae")
    z_mean = loaded.serve(x / np.float32(255))[2]
    np.testing.assert_allclose(z_mean, vae.encode(x)[0], atol=1e-5)
