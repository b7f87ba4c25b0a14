"""Scorecard: every measure of a trained VAE on one data set, in one table.

Runs the model and the classifier, and hands arrays to the pure measures. Whatever holds noise or a choice of
images is computed under several evaluation seeds; the half-width is over those alone, and says nothing about
other training seeds or other test images.
"""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from vae_lib import latent_space
from vae_lib.config import EvaluationConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.evaluation.classifier import Classifier
from vae_lib.evaluation.context import NO_CLASSIFIER, EvaluationContext
from vae_lib.evaluation.metric_table import MeasureTable
from vae_lib.evaluation.samples import take_generation
from vae_lib.metrics import disentanglement, probes
from vae_lib.metrics.elbo import active_units, aggregate_posterior, gaussian_log_prob, iwae, rate_per_dim
from vae_lib.metrics.intervals import standard_error
from vae_lib.metrics.reconstruction import mse, psnr
from vae_lib.training.scores import NOISE_SEED

COLLAPSED_RATE = 0.01  # nats: a latent below it tells nothing of the image


def scorecard(
    vae, data: ImageDataset, classifier: Classifier | None = None, protocol: EvaluationConfig | None = None
) -> pd.DataFrame:
    """Take every measure that the model, the data and the classifier allow.

    Args:
        vae: A trained VAE.
        data: The images it was trained on, the training images no others than those.
        classifier: Trained on the same data set; without one, the measures in its features are left out.
        protocol: How many images and seeds; None for the defaults.

    Returns:
        A row a measure, columns: `group`; `measure`; `of`, what is measured; `value`; `half_width`, 95 %
        over evaluation seeds, NaN where the value holds no noise; `unit`; `better`, "higher", "lower"
        or "none"; `n` images; `note`. What was left out has the value NaN, and its note says why.
    """
    subject = EvaluationContext(vae, data, classifier, protocol or EvaluationConfig())
    table = MeasureTable()
    with threadpool_limits(1):  # the same bits on any number of cores, and no contention for them
        for group, take in _GROUPS.items():
            table.begin(group)
            take(subject, table)
    return table.frame()


def _likelihood(subject: EvaluationContext, table: MeasureTable) -> None:
    vae, seeds = subject.vae, subject.protocol.seeds
    x, y, n = subject.x, subject.given("test"), len(subject.x)
    terms = {seed: vae.elbo_terms(x, y, seed=NOISE_SEED + seed) for seed in seeds}

    def elbo(seed):
        error = {"elbo_standard_error": standard_error(terms[seed]["elbo"])}
        return {**_scores(vae, terms[seed]["distortion"], terms[seed]["rate"]), **error}

    def with_mixture(seed):
        z = subject.drawn_codes("test", n, seed)
        rate = gaussian_log_prob(z, *subject.codes) - subject.mixture.score_samples(z)
        return _scores(vae, terms[seed]["distortion"], rate)

    has_bits = vae.likelihood.has_bits_per_dim
    names = ("elbo", *(("bits_per_dim",) if has_bits else ()), "rate")
    table.take((*names, "distortion", "elbo_standard_error"), "test images", n, elbo, seeds)
    note = "prior fitted after training to codes of training images"
    table.take(names, "test images, mixture prior", n, with_mixture, seeds, note)
    if not has_bits:
        reason = f"likelihood {vae.likelihood.name} has none on 8-bit pixels"
        table.leave_out("bits_per_dim", "test images", reason)
    _importance(subject, table)


def _scores(vae, distortion: np.ndarray, rate: np.ndarray) -> dict[str, float]:
    """Return the means over images, in nats, and bits per dim where the likelihood has them."""
    scores = {"distortion": np.mean(distortion, dtype="float64"), "rate": np.mean(rate, dtype="float64")}
    scores["elbo"] = -scores["distortion"] - scores["rate"]
    if vae.likelihood.has_bits_per_dim:
        scores["bits_per_dim"] = vae.likelihood.bits_per_dim(-scores["elbo"], vae.image_shape)
    return scores


def _importance(subject: EvaluationContext, table: MeasureTable) -> None:
    protocol = subject.protocol
    rows = slice(protocol.n_iwae)
    x, y = subject.x[rows], subject.given("test", rows)

    def bounds(seed):
        weights = subject.vae.log_weights(x, y, n_samples=protocol.iwae_k, seed=NOISE_SEED + seed)
        return {"elbo": weights.mean(), "iwae": iwae(weights).mean()}

    note = f"K = {protocol.iwae_k}; ELBO and IWAE are lower bounds on log p(x)"
    table.take(("elbo", "iwae"), f"first {len(x):,} test images", len(x), bounds, protocol.seeds, note)


def _bottleneck(subject: EvaluationContext, table: MeasureTable) -> None:
    z_mean, z_log_var = subject.codes
    n, latent_dim = z_mean.shape
    table.put("active_units", "z_mean", n, active_units(z_mean), f"of {latent_dim}")
    _aggregate_posterior(subject, table)
    if subject.vae.prior.name != "normal":
        reason = "they are against N(0, I), and this prior is learned"
        table.leave_out("collapsed_latents, marginal_kl, dimension_wise_kl", "q(z|x)", reason)
        return
    dead = np.flatnonzero(rate_per_dim(z_mean, z_log_var) < COLLAPSED_RATE)
    which = f": {', '.join(map(str, dead))}" if len(dead) else ""
    table.put("collapsed_latents", "q(z|x)", n, len(dead), f"rate below {COLLAPSED_RATE} nats{which}")


def _aggregate_posterior(subject: EvaluationContext, table: MeasureTable) -> None:
    z_mean, z_log_var = subject.codes
    n, seeds = min(len(z_mean), subject.protocol.n_pairs), subject.protocol.seeds

    def split(seed):
        rng = np.random.default_rng(seed)
        rows = rng.permutation(len(z_mean))[:n]
        mean, log_var = z_mean[rows], z_log_var[rows]
        z = mean + np.exp(0.5 * log_var) * rng.standard_normal(mean.shape)
        return aggregate_posterior(z, mean, log_var)

    drawn = {seed: split(seed) for seed in seeds}
    sound = all(2 * one["mutual_information"] < one["mutual_information_cap"] for one in drawn.values())
    biased, others = ("mutual_information", "total_correlation"), ("mutual_information_cap",)
    if subject.vae.prior.name == "normal":
        biased, others = (*biased, "marginal_kl"), (*others, "dimension_wise_kl")
    table.take(biased, "q(z)", n, drawn.__getitem__, seeds, "" if sound else "at cap: unusable")
    table.take(others, "q(z)", n, drawn.__getitem__, seeds)


def _reconstruction(subject: EvaluationContext, table: MeasureTable) -> None:
    x, n = subject.x, len(subject.x)

    def errors():
        return {f.__name__: f(x, subject.reconstructions) for f in (mse, psnr)}

    table.take(("mse", "psnr"), "reconstructions", n, errors, (), "decoder means at z_mean")
    classifier, labels = subject.classifier, subject.data.y_test
    if classifier is None:
        table.leave_out("classifier_accuracy", "reconstructions", NO_CLASSIFIER)
        return
    for of, images in (("test images", x), ("reconstructions", subject.reconstructions)):
        table.put("classifier_accuracy", of, n, classifier.score(images, labels))


def _representation(subject: EvaluationContext, table: MeasureTable) -> None:
    z_mean, protocol = subject.codes[0], subject.protocol
    n_tsne = min(len(z_mean), protocol.n_tsne)

    def neighbourhoods(seed):
        codes = z_mean[np.random.default_rng(seed).permutation(len(z_mean))[:n_tsne]]
        embedding = latent_space.embed_tsne(codes, min(30.0, (n_tsne - 1) / 3), seed)
        return {"trustworthiness": probes.trustworthiness(codes, embedding)}

    if z_mean.shape[1] > 2:
        table.take(("trustworthiness",), "t-SNE of z_mean", n_tsne, neighbourhoods, protocol.seeds)
    else:
        table.leave_out("trustworthiness", "t-SNE of z_mean", "two latents or fewer need no embedding")
    if subject.data.y_train is None:
        table.leave_out("knn_accuracy, linear_probe_accuracy", "z_mean", "the data has no labels")
        return
    y_train, y_test = subject.data.y_train, subject.data.y_test

    def readers(seed):
        rows = np.random.default_rng(seed).permutation(len(y_train))[: protocol.n_codes]
        codes, _ = subject.vae.encode(subject.images("train", rows), subject.given("train", rows))
        table_of = (codes, y_train[rows], z_mean, y_test)
        return {
            "knn_accuracy": probes.knn_accuracy(*table_of),
            "linear_probe_accuracy": probes.linear_probe_accuracy(*table_of),
        }

    chance = np.bincount(y_test).max() / len(y_test)
    table.put("largest_class_share", "test images", len(y_test), chance)
    note = f"fitted on {min(protocol.n_codes, len(y_train)):,} training codes"
    note += ", given the label" if subject.vae.num_classes else ""
    names = ("knn_accuracy", "linear_probe_accuracy")
    table.take(names, "z_mean", len(y_test), readers, protocol.seeds, note)


def _disentanglement(subject: EvaluationContext, table: MeasureTable) -> None:
    factors, z_mean = subject.data.factors_test, subject.codes[0]
    of_dci = ("dci_disentanglement", "dci_completeness", "dci_informativeness")
    if factors is None or z_mean.shape[1] < 2:
        reason = "the data has no known factors" if factors is None else "they compare two latents or more"
        table.leave_out(", ".join(("mig", "sap", "factor_vae_score", *of_dci)), "z_mean", reason)
        return
    n, seeds = len(z_mean), subject.protocol.seeds

    def one(function):
        return lambda seed: {function.__name__: function(z_mean, factors, seed=seed)}

    def importances(seed):
        rows = slice(subject.protocol.n_dci)
        dci = disentanglement.dci(z_mean[rows], factors[rows], seed=seed)
        return {f"dci_{name}": score for name, score in dci.items()}

    note = "every factor read as categories, cyclic ones too"
    table.take(("mig",), "z_mean", n, lambda: {"mig": disentanglement.mig(z_mean, factors)}, (), note)
    table.take(("sap",), "z_mean", n, one(disentanglement.sap), seeds)
    note = f"chance 1 / {factors.shape[1]}"
    table.take(("factor_vae_score",), "z_mean", n, one(disentanglement.factor_vae_score), seeds, note)
    table.take(of_dci, "z_mean", min(n, subject.protocol.n_dci), importances, seeds)


_GROUPS = {
    "likelihood": _likelihood,
    "bottleneck": _bottleneck,
    "reconstruction": _reconstruction,
    "representation": _representation,
    "disentanglement": _disentanglement,
    "samples": take_generation,
}
