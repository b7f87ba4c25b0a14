"""Every public metric refuses NaN and infinity, whichever argument holds them."""

import numpy as np
import pytest

import vae_lib as vl

RNG = np.random.default_rng(0)
CODES, OTHER = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 3))
LABELS = np.arange(40) % 2
FACTORS = RNG.integers(0, 2, (400, 2))
MANY = FACTORS @ RNG.normal(size=(2, 3)) + RNG.normal(size=(400, 3))
IMAGES = RNG.uniform(0, 255, (4, 5, 5, 1))
ARGUMENTS = {  # the arrays that a metric takes, and what follows them
    "bits_per_dim": ([CODES[:, 0]], [9]),
    "gaussian_kl": ([CODES, OTHER], []),
    "rate_per_dim": ([CODES, OTHER], []),
    "active_units": ([CODES], []),
    "gaussian_log_prob": ([CODES, OTHER, OTHER], []),
    "log_mean_exp": ([CODES], []),
    "iwae": ([CODES], []),
    "aggregate_posterior": ([CODES, OTHER, OTHER], []),
    "mse": ([IMAGES, IMAGES + 1], []),
    "psnr": ([IMAGES, IMAGES + 1], []),
    "mse_of_each": ([IMAGES, IMAGES + 1], []),
    "psnr_of_each": ([IMAGES, IMAGES + 1], []),
    "auroc": ([CODES[:, 0], OTHER[:30, 0]], []),
    "auroc_interval": ([CODES[:, 0], OTHER[:30, 0]], []),
    "typicality": ([CODES[:, 0], OTHER[:30, 0]], []),
    "percentile": ([CODES[:, 0], OTHER[:30, 0]], []),
    "mahalanobis": ([CODES, OTHER], []),
    "frechet_distance": ([CODES, OTHER], []),
    "kernel_distance": ([CODES, OTHER], []),
    "precision_recall": ([CODES, OTHER], []),
    "nearest_neighbours": ([CODES, OTHER, OTHER], []),
    "knn_accuracy": ([CODES, LABELS, OTHER, LABELS], []),
    "linear_probe_accuracy": ([CODES, LABELS, OTHER, LABELS], []),
    "trustworthiness": ([CODES, OTHER], []),
    "mig": ([MANY, FACTORS], []),
    "mutual_information": ([MANY, FACTORS], []),
    "sap": ([MANY, FACTORS], []),
    "dci": ([MANY, FACTORS], []),
    "factor_vae_score": ([MANY, FACTORS], []),
    "mean_interval": ([CODES[:, 0]], []),
    "standard_error": ([CODES[:, 0]], []),
    "paired_difference": ([CODES[:, 0], OTHER[:, 0]], []),
}
NO_METRICS = {"METRICS", "TARGETS", "PRIORS", "column", "label_of", "digits_of"}


def test_every_public_metric_is_tried():
    assert set(ARGUMENTS) == set(vl.metrics.__all__) - NO_METRICS


@pytest.mark.parametrize("name", ARGUMENTS)
def test_one_bad_value_in_any_array_is_refused_by_name_and_none_is_not(name):
    metric, (arrays, rest) = getattr(vl.metrics, name), ARGUMENTS[name]
    if name != "dci":  # whose forests are slow
        metric(*arrays, *rest)
    for i, array in enumerate(arrays):
        if array.dtype.kind != "f":
            continue
        for bad in (np.nan, np.inf, -np.inf):
            spoilt = array.copy()
            spoilt.flat[5] = bad
            with pytest.raises(ValueError, match=r"1 of [\d,]+ values that are NaN or infinite"):
                metric(*arrays[:i], spoilt, *arrays[i + 1 :], *rest)
