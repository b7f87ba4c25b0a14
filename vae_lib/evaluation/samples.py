"""Images generated from a VAE's priors, and how they differ from real ones in a classifier's features.

Decoder means and draws from p(x|z) are two things: means are smoother than any image, draws carry the noise
of independent pixels. Both are scored, by name, beside real images at the same n, which are the floor.
"""

import numpy as np
from numpy.typing import ArrayLike

from vae_lib.evaluation.context import NO_CLASSIFIER, EvaluationContext
from vae_lib.evaluation.metric_table import Rows, missing, row
from vae_lib.metrics import sample_quality

REAL = ("real", "")  # target and prior of real images, the floor
MIN_TEST = 50  # test images below which sample metrics would say nothing
MAX_COPIES = 1000  # samples of a kind whose nearest training image is looked for
COPIED_QUANTILE = 0.01  # of held-out images, which are no copies, lie as near


def _generate(context: EvaluationContext, n: int, seed: int, y: np.ndarray | None) -> dict:
    """Return uint8 images by (target, prior): means and draws, from the model's prior and from a mixture."""
    vae = context.vae
    z = context.mixture.sample(n, y, seed)
    images = {}
    for target, draw in (("mean", False), ("sample", True)):
        images[target, "model"] = vae.sample(n, y, seed=seed, draw=draw)
        images[target, "mixture"] = vae.decode(z, y, draw=draw, seed=seed)
    return images


def within_class_diversity(features: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared distance of features from the mean of their class, averaged over classes.

    Args:
        features: Shape (n, n_features).
        labels: Classes, shape (n,).

    Returns:
        The total variance within a class, in squared feature units; 0 if all images of a class are one.

    Raises:
        ValueError: If no class has two images.
    """
    features, labels = np.asarray(features, dtype="float64"), np.asarray(labels)
    groups = [features[labels == label] for label in np.unique(labels)]
    spreads = [group.var(axis=0, ddof=1).sum() for group in groups if len(group) > 1]
    if not spreads:
        raise ValueError(f"no class has two images; received {len(labels)} images. Pass more of each class.")
    return float(np.mean(spreads))


def sample_scores(context: EvaluationContext) -> Rows:
    """Yield distances of generated images from real ones, copies, and for conditional models the labels.

    Raises:
        ValueError: Without a classifier, or with too few test images.
    """
    if context.classifier is None or len(context.x) < MIN_TEST:
        few = f"{len(context.x)} test images, fewer than {MIN_TEST}"
        raise ValueError(NO_CLASSIFIER if context.classifier is None else few)
    n = min(context.config.n_samples, len(context.x) // 2)
    options = {"prior": "mixture", "note": "fitted after training, size by validation"}
    yield row("mixture_components", context.mixture.n_components, context.n_mixture_codes, **options)
    train = context.classifier.features(context.images("train", slice(context.config.n_copied)))
    for seed in context.config.seeds:
        # Real images are in two disjoint halves: to compare with, and the floor.
        rows = np.random.default_rng(seed).permutation(len(context.x))
        half, floor, given = rows[:n], rows[n : 2 * n], context.labels("test")
        asked = None if given is None else given[half]
        images = {**_generate(context, n, seed, asked), REAL: context.x[floor]}
        read = {kind: context.classifier.read(x) for kind, x in images.items()}
        features = {kind: found for kind, (found, _) in read.items()}
        real = context.classifier.features(context.x[half])
        yield from _distance_rows(features, real, seed)
        yield from _copy_rows(features, real[:MAX_COPIES], train, seed)
        if given is not None:
            labels = dict.fromkeys(images, asked) | {REAL: given[floor]}
            for kind, (_, judged) in read.items():
                accuracy = np.mean(judged == labels[kind])
                yield row("classifier_accuracy", accuracy, n, *kind, seed=seed, note="of the label asked for")
            yield from _diversity_rows(features, labels, real, asked, seed)


def _distance_rows(generated: dict, real: np.ndarray, seed: int) -> Rows:
    n = len(real)
    for kind, features in generated.items():
        for part in (n, n // 2, n // 4):  # biased upwards by about 1 / n: compare at one n only
            distance = sample_quality.frechet_distance(features[:part], real[:part])
            yield row("frechet_distance", distance, part, *kind, seed=seed)
        distance, _ = sample_quality.kernel_distance(features, real, seed=seed)
        yield row("kernel_distance", distance, n, *kind, seed=seed)
        for metric, share in sample_quality.precision_recall(real, features).items():
            yield row(metric, share, n, *kind, seed=seed)


def _copy_rows(generated: dict, real: np.ndarray, train: np.ndarray, seed: int) -> Rows:
    n, samples = len(real), np.concatenate([features[: len(real)] for features in generated.values()])
    copied = sample_quality.nearest_neighbours(samples, train, real, COPIED_QUANTILE)["copied"]
    note = f"among {len(train):,} training images; {COPIED_QUANTILE:g} expected of new ones"
    for kind, share in zip(generated, copied.reshape(-1, n).mean(axis=1), strict=True):
        yield row("copied_share", share, n, *kind, seed=seed, note=note)


def _diversity_rows(generated: dict, labels: dict, real: np.ndarray, y: np.ndarray, seed: int) -> Rows:
    note = "1 is as varied as real images"
    try:
        most = within_class_diversity(real, y)
        for kind, features in generated.items():
            share = within_class_diversity(features, labels[kind]) / most
            yield row("within_class_diversity", share, len(real), *kind, seed=seed, note=note)
    except ValueError as error:
        yield from missing(("within_class_diversity",), str(error), "mean", "model")
