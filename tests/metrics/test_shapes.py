import numpy as np
import pytest

from vae_lib.metrics.shapes import check_shapes


def test_arrays_that_fit_come_back_converted():
    codes, labels = check_shapes("Pass codes.", float, codes=([[1, 2], [3, 4]], "n k"), labels=([0, 1], "n"))
    assert codes.dtype == labels.dtype == float
    np.testing.assert_array_equal(codes, [[1, 2], [3, 4]])
    (kept,) = check_shapes("Pass codes.", codes=(np.ones((2, 3), dtype="float32"), "n>=2 k"))
    assert kept.dtype == np.float32


@pytest.mark.parametrize(
    "shapes",
    [((4, 2), (3,)), ((4,), (4,)), ((4, 2), (4, 1)), ((0, 2), (0,)), ((4, 0), (4,)), ((4, 1), (4,))],
    ids=["lengths differ", "too few axes", "too many axes", "no rows", "no columns", "too short"],
)
def test_shapes_that_do_not_fit_are_all_named_with_the_remedy(shapes):
    codes, labels = map(np.zeros, shapes)
    with pytest.raises(ValueError) as refused:
        check_shapes("Pass both.", codes=(codes, "n latent_dim>=2"), labels=(labels, "n"))
    expected = "Expected `codes` (n, latent_dim >= 2), `labels` (n), none of them empty"
    assert str(refused.value) == f"{expected}; received codes {shapes[0]}, labels {shapes[1]}. Pass both."
