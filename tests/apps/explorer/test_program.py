import keras
import numpy as np
import pytest
from keras import layers

from tests.support.tiny_models import SIZES, trained
from vae_lib.apps import write_explorer
from vae_lib.apps.explorer.program import convolution_taps, transposed_taps
from vae_lib.data.dataset import from_arrays
from vae_lib.models.hierarchical import HierarchicalVAE
from vae_lib.models.vae import VAE
from vae_lib.utils.errors import InputError

DECODE = """
    const [codes, labels] = arguments;
    return codes.map((z, i) => Array.from(decoded({ z: Float32Array.from(z), label: labels[i] })));
"""


@pytest.mark.parametrize(
    "shape, options",
    [
        ((9, 13, 1), {}),
        ((12, 12, 3), {"network": "resnet", "num_classes": 3, "prior": "flow"}),
        ((8, 10, 2), {"network": "mlp", "likelihood": "bernoulli", "binarize": True}),
        ((8, 8, 3), {"network": "hierarchical", "num_classes": 3, "channels": "independent"}),
        pytest.param((9, 12, 4), {"network": "hierarchical"}, marks=pytest.mark.slow),
    ],
)
def test_the_page_decodes_what_the_library_decodes(shape, options, explore):
    kind = HierarchicalVAE if options.get("network") == "hierarchical" else VAE
    vae = trained(kind(shape, **SIZES, **options))
    page, data = explore(vae)
    z = 2.0 * np.random.default_rng(1).standard_normal((100, 3)).astype("float32")
    labels = np.arange(100) % 3
    given = labels if vae.num_classes else None
    expected = vae.decode(z, given, **({"temperature": 0.0} if kind is HierarchicalVAE else {}))
    decoded = np.array(page.run(DECODE, z.tolist(), labels.tolist())).reshape(expected.shape)
    assert expected.std(axis=0).mean() > 10  # the images differ
    assert np.abs(decoded - expected.astype(int)).max() <= 2
    assert page.run("return check()") <= 2

    images, i = np.array(page.run("return Array.from(images.pixels)")).reshape(-1, *shape), 5
    seen, label = vae.as_observed(data.x_test), data.y_test[i : i + 1] if vae.num_classes else None
    np.testing.assert_array_equal(
        images[i], seen[i]
    )  # those of each class in turn are in the order of the set
    shown = page.run("return Array.from(decoded(imageState(arguments[0])))", i)
    expected = vae.reconstruct(seen[i : i + 1], label)[0].astype(int)
    assert np.abs(np.reshape(shown, shape) - expected).max() <= 2


def test_taps_are_those_of_keras(rng):
    for length, size, stride in ((7, 4, 2), (5, 3, 1), (6, 1, 1), (3, 2, 3), (4, 5, 2)):
        x, kernel = rng.standard_normal(length), rng.standard_normal(size)
        for taps, function in (
            (convolution_taps, keras.ops.conv),
            (transposed_taps, keras.ops.conv_transpose),
        ):
            expected = function(x[None, :, None], kernel[:, None, None], stride, padding="same")
            places = taps(length, size, stride)
            sums = [sum(kernel[tap] * x[place] for tap, place in pairs) for pairs in places]
            np.testing.assert_allclose(sums, np.ravel(expected), rtol=1e-6, atol=1e-6)


def own(layer):
    """A VAE whose decoder ends in this layer."""

    class OwnVAE(VAE):
        def make_networks(self, config):
            encoder, decoder = super().make_networks(config)
            self.decoder = keras.Model(decoder.inputs, layer(decoder.outputs[0]))
            return [encoder, self.decoder]

    return OwnVAE((8, 8, 1), **SIZES)


@pytest.mark.parametrize(
    "layer, words",
    [
        (layers.LayerNormalization(), "no operation LayerNormalization as in 'layer_normalization"),
        (layers.Conv2D(2, 3, padding="same", dilation_rate=2), "no operation Conv2D"),
        (layers.Conv2D(2, 1, activation="selu"), "activations gelu, linear; received 'selu'"),
    ],
)
def test_a_layer_that_the_page_cannot_run_is_named_and_nothing_is_written(layer, words, tmp_path):
    images = np.zeros((20, 8, 8, 1), "uint8")
    with pytest.raises(InputError, match=words):
        write_explorer(own(layer), tmp_path / "page.html", from_arrays(images))
    assert not list(tmp_path.iterdir())
