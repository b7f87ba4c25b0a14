"""The vocabulary of results: every metric, what it is taken of, and under which prior z was drawn.

Three identifiers name a score, and together they name its column in a table of runs: `bits_per_dim_test`,
`psnr_reconstruction`, `frechet_distance_sample_mixture`. Labels, units and digits are kept here alone.
"""

from dataclasses import dataclass

HIGHER, LOWER, NEITHER = "higher", "lower", "none"


@dataclass(frozen=True)
class Metric:
    """How a metric is shown.

    Attributes:
        label: Its name in a heading or on an axis.
        unit: Of its values; empty where the label says it.
        direction: "higher" or "lower" is better, or "none".
        digits: Decimals worth showing.
        group: Under which it stands in a scorecard.
        target: What it is taken of unless something else is said, so that the label need not name it.
    """

    label: str
    unit: str
    direction: str
    digits: int
    group: str
    target: str = ""


_LIKELIHOOD, _BOTTLENECK, _RECONSTRUCTION = "likelihood", "bottleneck", "reconstruction"
_REPRESENTATION, _DISENTANGLEMENT = "representation", "disentanglement"
_SAMPLES, _LABELS = "samples", "labels"

METRICS = {
    "elbo": Metric("ELBO", "nats/image", HIGHER, 1, _LIKELIHOOD, "test"),
    "bits_per_dim": Metric("bits per dimension", "bits/dim", LOWER, 3, _LIKELIHOOD, "test"),
    "rate": Metric("rate", "nats/image", LOWER, 1, _LIKELIHOOD, "test"),
    "distortion": Metric("distortion", "nats/image", LOWER, 1, _LIKELIHOOD, "test"),
    "elbo_standard_error": Metric("standard error", "nats/image", NEITHER, 2, _LIKELIHOOD, "test"),
    "iwae": Metric("IWAE bound", "nats/image", HIGHER, 1, _LIKELIHOOD, "test_subset"),
    "active_units": Metric("active units", "latents", NEITHER, 1, _BOTTLENECK, "z_mean"),
    "mutual_information": Metric("mutual information", "nats", NEITHER, 2, _BOTTLENECK, "aggregate"),
    "total_correlation": Metric("total correlation", "nats", LOWER, 2, _BOTTLENECK, "aggregate"),
    "marginal_kl": Metric("KL of q(z) from the prior", "nats", LOWER, 2, _BOTTLENECK, "aggregate"),
    "mutual_information_cap": Metric("cap of the information", "nats", NEITHER, 2, _BOTTLENECK, "aggregate"),
    "dimension_wise_kl": Metric("dimension-wise KL", "nats", LOWER, 2, _BOTTLENECK, "aggregate"),
    "collapsed_latents": Metric("collapsed latents", "latents", NEITHER, 1, _BOTTLENECK, "posterior"),
    "mse": Metric("mean squared error", "grey levels squared", LOWER, 0, _RECONSTRUCTION, "test"),
    "psnr": Metric("PSNR", "dB", HIGHER, 2, _RECONSTRUCTION, "test"),
    "trustworthiness": Metric("trustworthiness", "share", HIGHER, 3, _REPRESENTATION, "tsne"),
    "largest_class_share": Metric("share of the largest class", "share", NEITHER, 3, _REPRESENTATION, "test"),
    "knn_accuracy": Metric("10-NN accuracy of codes", "share", HIGHER, 3, _REPRESENTATION, "z_mean"),
    "linear_probe_accuracy": Metric("linear probe of codes", "share", HIGHER, 3, _REPRESENTATION, "z_mean"),
    "mig": Metric("mutual information gap (MIG)", "share", HIGHER, 2, _DISENTANGLEMENT, "z_mean"),
    "mig_active": Metric("MIG of active codes", "share", HIGHER, 2, _DISENTANGLEMENT, "z_mean"),
    "sap": Metric("attribute gap (SAP)", "share", HIGHER, 2, _DISENTANGLEMENT, "z_mean"),
    "factor_vae_score": Metric("FactorVAE score", "share", HIGHER, 2, _DISENTANGLEMENT, "z_mean"),
    "dci_disentanglement": Metric("DCI disentanglement", "share", HIGHER, 2, _DISENTANGLEMENT, "z_mean"),
    "dci_completeness": Metric("DCI completeness", "share", HIGHER, 2, _DISENTANGLEMENT, "z_mean"),
    "dci_informativeness": Metric("DCI informativeness", "share", HIGHER, 2, _DISENTANGLEMENT, "z_mean"),
    "mixture_components": Metric("mixture components", "components", NEITHER, 0, _SAMPLES, "posterior"),
    "frechet_distance": Metric("Fréchet distance", "feature units squared", LOWER, 1, _SAMPLES),
    "kernel_distance": Metric("kernel distance", "kernel units", LOWER, 3, _SAMPLES),
    "precision": Metric("precision", "share", HIGHER, 3, _SAMPLES),
    "recall": Metric("recall", "share", HIGHER, 3, _SAMPLES),
    "copied_share": Metric("share of copies", "share", LOWER, 3, _SAMPLES),
    "classifier_accuracy": Metric("classifier accuracy", "share", HIGHER, 3, _LABELS),
    "within_class_diversity": Metric("diversity within a class", "ratio to real", NEITHER, 2, _LABELS),
}
_UNITLESS = ("bits/dim", "share", "feature units squared", "kernel units", "latents")  # said or understood
TARGETS = {  # of what a score is taken
    "val": "validation images",
    "test": "test images",
    "test_subset": "first test images",
    "reconstruction": "reconstructions",
    "mean": "decoder means",
    "sample": "draws from p(x|z)",
    "real": "real images",
    "z_mean": "z_mean",
    "posterior": "q(z|x)",
    "aggregate": "q(z)",
    "tsne": "t-SNE of z_mean",
}
PRIORS = {  # where z was drawn from, or what it was scored under
    "model": "the model's prior",
    "mixture": "mixture prior",
}


def column(metric: str, target: str, prior: str = "") -> str:
    """Return the name of a score's column in a table with a row per run."""
    return "_".join(filter(None, (metric, target, prior)))


# Column -> its metric, target and prior, of every score there may be.
COLUMNS = {
    column(metric, target, prior): (metric, target, prior)
    for metric in METRICS
    for target in TARGETS
    for prior in ("", *PRIORS)
}


def label_of(name: str) -> str:
    """Return the label of a column or metric, such as "PSNR of reconstructions (dB)"; others with spaces."""
    metric, target, prior = COLUMNS.get(name, (name, "", ""))
    if metric not in METRICS:
        return name.replace("_", " ")
    shown = METRICS[metric]
    label = shown.label
    if target and target != shown.target:
        label += f" of {TARGETS[target]}"
    if prior == "mixture":
        label += f", {PRIORS[prior]}"
    return f"{label} ({shown.unit})" if shown.unit not in _UNITLESS else label


def digits_of(name: str, default: int = 3) -> int:
    """Return the decimals worth showing of a column, or of a metric."""
    metric = COLUMNS.get(name, (name,))[0]
    return METRICS[metric].digits if metric in METRICS else default
