import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from vae_lib.apps import export_model
from vae_lib.models.vae import VAE
from vae_lib.utils.errors import InputError

SIZES = {"latent_dim": 3, "width": 4, "dense_units": 16}
slow = pytest.mark.slow


def images(n, shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype="uint8")


def run_saved_model(path, inputs):
    loaded = tf.saved_model.load(path)
    return loaded.signatures["serving_default"](**{name: tf.constant(a) for name, a in inputs.items()})


def run_onnx(path, inputs):
    session = onnxruntime.InferenceSession(path)
    return dict(
        zip([output.name for output in session.get_outputs()], session.run(None, inputs), strict=True)
    )


def run_litert(path, inputs):
    return tf.lite.Interpreter(model_path=str(path)).get_signature_runner()(**inputs)


FORMATS = {
    "saved_model": ("_saved_model", run_saved_model),
    "onnx": (".onnx", run_onnx),
    "litert": (".tflite", run_litert),
}


@pytest.mark.parametrize("format", ["saved_model", "onnx", pytest.param("litert", marks=slow)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"num_classes": 3, "prior": "flow"}, marks=slow),
        pytest.param({"network": "mlp", "likelihood": "bernoulli", "binarize": True}, marks=slow),
    ],
)
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_a_file_gives_what_the_model_gives_for_any_number_of_images(format, options, tmp_path):
    vae, (ending, run) = VAE((9, 13, 2), **SIZES, **options), FORMATS[format]
    differences = export_model(vae, tmp_path, [format])
    assert (
        set(differences) == {f"encoder{ending}", f"decoder{ending}"} == {p.name for p in tmp_path.iterdir()}
    )
    x = images(5, (9, 13, 2))
    y = np.array([0, 1, 2, 0, 1]) if vae.num_classes else None
    labels = {} if y is None else {"label": y}
    z_mean, z_log_var = vae.encode(x, y)
    codes = run(tmp_path / f"encoder{ending}", {"image": x, **labels})
    np.testing.assert_allclose(codes["z_mean"], z_mean, atol=1e-4)
    np.testing.assert_allclose(codes["z_log_var"], z_log_var, atol=1e-4)
    decoded = np.asarray(run(tmp_path / f"decoder{ending}", {"z": z_mean, **labels})["image"])
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - vae.decode(z_mean, y).astype(int)).max() <= 1


def test_the_encoder_of_a_saved_model_takes_floats_too(tmp_path):
    vae, x = VAE((8, 8, 1), **SIZES), images(5, (8, 8, 1))
    export_model(vae, tmp_path, "saved_model", x / np.float32(255))
    loaded = tf.saved_model.load(tmp_path / "encoder_saved_model")
    np.testing.assert_allclose(loaded.serve(x / np.float32(255))["z_mean"], vae.encode(x)[0], atol=1e-5)


@keras.saving.register_keras_serializable(package="tests")
class ShiftedVAE(VAE):
    """Its codes are not those that its encoder gives, as if a converter had changed them."""

    def encode(self, x, y=None):
        z_mean, z_log_var = super().encode(x, y)
        return z_mean + 0.01, z_log_var


@pytest.mark.parametrize("format", ["saved_model", "onnx"])
def test_a_file_that_differs_or_cannot_be_written_is_refused_and_older_ones_stay(format, tmp_path, capfd):
    (tmp_path / "encoder.onnx").write_text("older")
    vae = ShiftedVAE((8, 8, 1), **SIZES)
    capfd.readouterr()  # what TensorFlow says at its first operation
    with pytest.raises(InputError, match=r"cannot be written as encoder\S+ \(.*\): choose another") as error:
        export_model(vae, tmp_path, [format])
    assert "\n" not in str(error.value) and capfd.readouterr().err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.onnx"]
    assert (tmp_path / "encoder.onnx").read_text() == "older"


def test_bad_arguments_are_refused_before_anything_is_written(tmp_path):
    vae, out = VAE((8, 8, 1), **SIZES), tmp_path / "out"
    half = VAE((8, 8, 1), **SIZES, dtype="mixed_float16")
    for arguments, words in (
        ((vae, out, ["pickle"]), "format must be one of saved_model, onnx, litert; received 'pickle'"),
        ((half, out, ["litert"]), "dtype policy float32; received mixed_float16: .* dtype='float32'"),
        ((vae, out, ["litert"], np.zeros((2, 9, 8, 1), "uint8")), r"of shape .*received \(2, 9, 8, 1\)"),
    ):
        with pytest.raises(InputError, match=words):
            export_model(*arguments)
    assert not out.exists() or not list(out.iterdir())
