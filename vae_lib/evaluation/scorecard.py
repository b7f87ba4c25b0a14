"""Scorecard: every metric of a trained VAE on one data set, in one table.

Runs the model and the classifier, and hands arrays to the pure metrics. Whatever holds noise or a choice of
images is computed under several evaluation seeds; the half-width is over those alone, and says nothing about
other training seeds or other test images.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from vae_lib import latent_space
from vae_lib.config import EvaluationConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.evaluation.classifier import Classifier
from vae_lib.evaluation.context import NO_CLASSIFIER, EvaluationContext
from vae_lib.evaluation.metric_table import Rows, missing, row, score_table
from vae_lib.evaluation.samples import sample_scores
from vae_lib.latent_space import MixturePrior, draw_codes
from vae_lib.metrics import disentanglement, elbo, probes, reconstruction
from vae_lib.metrics.intervals import standard_error
from vae_lib.training.scores import NOISE_SEED

COLLAPSED_RATE = 0.01  # nats: a latent below it says nothing of the image
N_NEIGHBORS = 10  # of a code, among those that a t-SNE shows


def scorecard(
    vae,
    data: ImageDataset,
    classifier: Classifier | None = None,
    config: EvaluationConfig | None = None,
    mixture: MixturePrior | None = None,
) -> pd.DataFrame:
    """Compute every metric that the model, the data and the classifier allow.

    Args:
        vae: A trained VAE.
        data: The images it was trained on, the training images no others than those.
        classifier: Trained on the same data set; without one, the metrics in its features are left out.
        config: How many images and seeds; None for the defaults.
        mixture: The mixture prior that is kept with the run; None fits one to `n_codes` codes.

    Returns:
        One row a score, columns as of `metric_table.score_table`. What was left out has the value NaN, and
        its note says why.
    """
    context = EvaluationContext(vae, data, classifier, config or EvaluationConfig(), mixture)
    with threadpool_limits(1):  # the same bits on any number of cores, and no contention for them
        return score_table(_with_scale(row, vae) for scores in _METRICS_OF for row in _rows(scores, context))


def _rows(scores: Callable[[EvaluationContext], Rows], context: EvaluationContext) -> list[dict]:
    """Return the rows of a group of metrics; of a set too small for them, say, the reason."""
    try:
        return list(scores(context))
    except ValueError as error:
        return missing(_METRICS_OF[scores], str(error).strip().splitlines()[0])


def _with_scale(row: dict, vae) -> dict:
    """Return a row with the scale that it reads, of what is measured on codes of a hierarchical model."""
    if vae.rate_names and row["target"] in ("z_mean", "tsne", "posterior", "aggregate"):
        row["note"] = "; ".join(filter(None, [row["note"], "of z_1, the coarsest scale"]))
    return row


def likelihood_scores(context: EvaluationContext) -> Rows:
    """Yield the ELBO and its terms on all test images, and under a mixture fitted to the codes."""
    vae, n = context.vae, len(context.x)
    note = "prior fitted after training to codes of training images"
    for seed in context.config.seeds:
        terms = vae.elbo_terms(context.x, context.labels("test"), seed=NOISE_SEED + seed)
        scales = [f"{name.removeprefix('rate_')} {terms[name].mean():.1f}" for name in vae.rate_names]
        by_scale = f"by scale, {', '.join(scales)}" if scales else ""
        yield from _bound_rows(
            vae, terms["distortion"], terms["rate"], prior="model", seed=seed, rate_note=by_scale
        )
        distortion = np.mean(terms["distortion"], dtype="float64")
        yield row("distortion", distortion, n, prior="model", seed=seed)
        yield row("elbo_standard_error", standard_error(terms["elbo"]), n, prior="model", seed=seed)
        z = draw_codes(*context.codes, np.random.default_rng(seed))
        rate = elbo.gaussian_log_prob(z, *context.codes) - context.mixture.log_prob(z, context.labels("test"))
        rate = rate + terms["rate"] - terms.get("rate_1x1", terms["rate"])  # of finer scales
        yield from _bound_rows(vae, terms["distortion"], rate, prior="mixture", seed=seed, note=note)
    if not vae.likelihood.has_bits_per_dim:
        reason = f"likelihood {vae.likelihood.name} has none on 8-bit pixels"
        yield from missing(("bits_per_dim",), reason, prior="model")


def _bound_rows(vae, distortion: np.ndarray, rate: np.ndarray, rate_note: str = "", **options) -> Rows:
    """Yield the means over images of the bound, in nats and in bits per dimension, and of the rate."""
    mean_rate = np.mean(rate, dtype="float64")
    bound = -np.mean(distortion, dtype="float64") - mean_rate
    yield row("elbo", bound, len(rate), **options)
    if vae.likelihood.has_bits_per_dim:
        yield row("bits_per_dim", vae.likelihood.bits_per_dim(-bound, vae.image_shape), len(rate), **options)
    yield row("rate", mean_rate, len(rate), **(options | {"note": rate_note} if rate_note else options))


def importance_scores(context: EvaluationContext) -> Rows:
    """Yield the importance-weighted bound beside the ELBO of the same images."""
    k = context.config.iwae_k
    x, y = context.x[: context.config.n_iwae], context.labels("test", slice(context.config.n_iwae))
    note = f"K = {k}; ELBO and IWAE are lower bounds on log p(x)"
    for seed in context.config.seeds:
        weights = context.vae.log_weights(x, y, n_samples=k, seed=NOISE_SEED + seed)
        for metric, bound in (("elbo", weights.mean()), ("iwae", elbo.iwae(weights).mean())):
            yield row(metric, bound, len(x), "test_subset", "model", seed=seed, note=note)


def bottleneck_scores(context: EvaluationContext) -> Rows:
    """Yield how many latents are used, and how far the codes are from the prior."""
    z_mean, z_log_var = context.codes
    n, latent_dim = z_mean.shape
    yield row("active_units", elbo.active_units(z_mean), n, note=f"of {latent_dim}")
    yield from _aggregate_rows(context)
    if context.vae.prior.name != "normal":
        reason = "they are against N(0, I), and this prior is learned"
        yield from missing(("collapsed_latents", "marginal_kl", "dimension_wise_kl"), reason)
        return
    dead = np.flatnonzero(elbo.rate_per_dim(z_mean, z_log_var) < COLLAPSED_RATE)
    which = f": {', '.join(map(str, dead))}" if len(dead) else ""
    yield row("collapsed_latents", len(dead), n, note=f"rate below {COLLAPSED_RATE} nats{which}")


def _aggregate_rows(context: EvaluationContext) -> Rows:
    z_mean, z_log_var = context.codes
    n = min(len(z_mean), context.config.n_pairs)
    splits = {}
    for seed in context.config.seeds:
        rng = np.random.default_rng(seed)
        rows = rng.permutation(len(z_mean))[:n]
        mean, log_var = z_mean[rows], z_log_var[rows]
        z = draw_codes(mean, log_var, rng)
        splits[seed] = elbo.aggregate_posterior(z, mean, log_var)
    sound = all(2 * s["mutual_information"] < s["mutual_information_cap"] for s in splits.values())
    biased = "" if sound else "at cap: unusable"
    notes = {"mutual_information": biased, "total_correlation": biased, "mutual_information_cap": ""}
    if context.vae.prior.name == "normal":
        notes |= {"marginal_kl": biased, "dimension_wise_kl": ""}
    for seed, split in splits.items():
        for metric, note in notes.items():
            yield row(metric, split[metric], n, seed=seed, note=note)


def reconstruction_scores(context: EvaluationContext) -> Rows:
    """Yield the error of reconstructions, and whether a classifier still finds the class in them."""
    x, again, n = context.x, context.reconstructions, len(context.x)
    for metric, score in (("mse", reconstruction.mse), ("psnr", reconstruction.psnr)):
        yield row(metric, score(x, again), n, "reconstruction", note="decoder means at z_mean")
    if context.classifier is None:
        yield from missing(("classifier_accuracy",), NO_CLASSIFIER, "reconstruction")
        return
    for target, images in (("test", x), ("reconstruction", again)):
        yield row("classifier_accuracy", context.classifier.score(images, context.data.y_test), n, target)


def embedding_scores(context: EvaluationContext) -> Rows:
    """Yield how far neighbours in a t-SNE are neighbours among the codes."""
    z_mean = context.codes[0]
    n = min(len(z_mean), context.config.n_tsne)
    if z_mean.shape[1] <= 2:
        yield from missing(("trustworthiness",), "two latents or fewer need no embedding")
        return
    if n <= 2 * N_NEIGHBORS:
        yield from missing(("trustworthiness",), f"it needs more than {2 * N_NEIGHBORS} test images, not {n}")
        return
    for seed in context.config.seeds:
        codes = z_mean[np.random.default_rng(seed).permutation(len(z_mean))[:n]]
        embedding = latent_space.embed_tsne(codes, min(30.0, (n - 1) / 3), seed)
        yield row("trustworthiness", probes.trustworthiness(codes, embedding, N_NEIGHBORS), n, seed=seed)


def probe_scores(context: EvaluationContext) -> Rows:
    """Yield how well simple classifiers find the class in the codes, and the share of the largest class."""
    y_train, y_test = context.data.y_train, context.data.y_test
    if y_train is None:
        yield from missing(("knn_accuracy", "linear_probe_accuracy"), "the data has no labels")
        return
    n, n_codes = len(y_test), context.config.n_codes
    yield row("largest_class_share", np.bincount(y_test).max() / n, n)
    note = f"fitted on {min(n_codes, len(y_train)):,} training codes"
    note += ", given the label" if context.vae.num_classes else ""
    for seed in context.config.seeds:
        rows = np.random.default_rng(seed).permutation(len(y_train))[:n_codes]
        codes, _ = context.vae.encode(context.images("train", rows), context.labels("train", rows))
        for metric in (probes.knn_accuracy, probes.linear_probe_accuracy):
            score = metric(codes, y_train[rows], context.codes[0], y_test)
            yield row(metric.__name__, score, n, seed=seed, note=note)


def factor_scores(context: EvaluationContext) -> Rows:
    """Yield the scores of disentanglement that need no forest."""
    z_mean, factors = _codes_and_factors(context)
    note = "every factor read as categories, cyclic ones too"
    yield row("mig", disentanglement.mig(z_mean, factors), len(z_mean), note=f"all codes; {note}")
    active = disentanglement.mig(z_mean, factors, min_variance=disentanglement.COLLAPSED)
    yield row("mig_active", active, len(z_mean), note=f"without collapsed codes; {note}")
    for seed in context.config.seeds:
        yield row("sap", disentanglement.sap(z_mean, factors, seed=seed), len(z_mean), seed=seed)


def vote_scores(context: EvaluationContext) -> Rows:
    """Yield the FactorVAE score."""
    z_mean, factors = _codes_and_factors(context)
    note = f"chance 1 / {factors.shape[1]}"
    for seed in context.config.seeds:
        score = disentanglement.factor_vae_score(z_mean, factors, seed=seed)
        yield row("factor_vae_score", score, len(z_mean), seed=seed, note=note)


def dci_scores(context: EvaluationContext) -> Rows:
    """Yield disentanglement, completeness and informativeness by the importances of forests."""
    z_mean, factors = (values[: context.config.n_dci] for values in _codes_and_factors(context))
    for seed in context.config.seeds:
        for name, score in disentanglement.dci(z_mean, factors, seed=seed).items():
            yield row(f"dci_{name}", score, len(z_mean), seed=seed)


def _codes_and_factors(context: EvaluationContext) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes (n, latent_dim) and factors (n, n_factors) of the test images."""
    if context.data.factors_test is None:
        raise ValueError("the data has no known factors")
    if context.vae.latent_dim < 2:
        raise ValueError("they compare two latents or more")
    return context.codes[0], context.data.factors_test


# Each group of metrics; where it raises a ValueError, these are left out for that reason.
_METRICS_OF = {
    likelihood_scores: ("elbo", "bits_per_dim", "rate", "distortion", "elbo_standard_error"),
    importance_scores: ("iwae",),
    bottleneck_scores: ("active_units", "collapsed_latents"),
    reconstruction_scores: ("mse", "psnr", "classifier_accuracy"),
    embedding_scores: ("trustworthiness",),
    probe_scores: ("knn_accuracy", "linear_probe_accuracy"),
    factor_scores: ("mig", "mig_active", "sap"),
    vote_scores: ("factor_vae_score",),
    dci_scores: ("dci_disentanglement", "dci_completeness", "dci_informativeness"),
    sample_scores: ("frechet_distance", "kernel_distance", "precision", "recall", "copied_share"),
}
