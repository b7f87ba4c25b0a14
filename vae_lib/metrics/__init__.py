"""Metrics: arrays in, numbers out. No model, no file and no plot inside."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "registry": ["METRICS", "TARGETS", "PRIORS", "column", "label_of", "digits_of"],
        "elbo": [
            "bits_per_dim",
            "gaussian_kl",
            "rate_per_dim",
            "active_units",
            "gaussian_log_prob",
            "log_mean_exp",
            "iwae",
            "aggregate_posterior",
        ],
        "reconstruction": ["mse", "psnr", "mse_of_each", "psnr_of_each"],
        "novelty": ["auroc", "auroc_interval", "typicality", "percentile", "mahalanobis"],
        "sample_quality": ["frechet_distance", "kernel_distance", "precision_recall", "nearest_neighbours"],
        "probes": ["knn_accuracy", "linear_probe_accuracy", "trustworthiness"],
        "disentanglement": ["mig", "mutual_information", "sap", "dci", "factor_vae_score"],
        "intervals": ["mean_interval", "paired_difference", "standard_error"],
    },
)
