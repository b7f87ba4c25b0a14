"""Images generated from a VAE's priors, and how they differ from real ones in a classifier's features.

Decoder means and draws from p(x|z) are two things: means are smoother than any image, draws carry the noise
of independent pixels. Both are scored, by name, beside real images at the same n, which are the floor.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vae_lib.evaluation.context import NO_CLASSIFIER, EvaluationContext
from vae_lib.evaluation.metric_table import missing, row
from vae_lib.metrics import sample_quality

REAL = ("real", "")  # target and prior of real images, the floor
MIN_TEST = 50  # test images below which sample metrics would say nothing
MAX_COPIES = 1000  # samples of a kind whose nearest training image is looked for
COPIED_QUANTILE = 0.01  # of held-out images, which are no copies, lie as near


def generate(
    context: EvaluationContext, n: int, seed: int, y: np.ndarray | None = None
) -> dict[tuple[str, str], np.ndarray]:
    """Return uint8 images by (target, prior): means and draws, from the model's prior and from a mixture.

    Args:
        context: The model, and the images that the mixture is fitted to.
        n: Images of each kind.
        seed: Of z and of the pixels' noise.
        y: Labels (n,) for a conditional model.
    """
    vae = context.vae
    mixture = context.mixture.set_params(random_state=seed)
    z = np.random.default_rng(seed).permutation(mixture.sample(n)[0])
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


@dataclass(frozen=True)
class _Generated:
    """What the classifier sees of real images, and of generated ones by kind: (target, prior)."""

    real: np.ndarray  # features (n, n_features)
    real_labels: np.ndarray | None
    features: dict[tuple[str, str], np.ndarray]
    predicted: dict[tuple[str, str], np.ndarray]
    labels: dict[tuple[str, str], np.ndarray | None]  # that a conditional model was asked for


def _generated(context: EvaluationContext, n: int, seed: int) -> _Generated:
    """Generate images of every kind; real ones are in two disjoint halves: to compare with, and the floor."""
    rows = np.random.default_rng(seed).permutation(len(context.x))
    real, floor = rows[:n], rows[n : 2 * n]
    given, classifier = context.labels("test"), context.classifier
    asked = None if given is None else given[real]
    images = {**generate(context, n, seed, asked), REAL: context.x[floor]}
    return _Generated(
        real=classifier.features(context.x[real]),
        real_labels=asked,
        features={kind: classifier.features(x) for kind, x in images.items()},
        predicted={kind: classifier.predict(x) for kind, x in images.items()},
        labels={kind: asked for kind in images} | {REAL: None if given is None else given[floor]},
    )


def sample_scores(context: EvaluationContext) -> Iterator[dict]:
    """Yield distances of generated images from real ones, copies, and for conditional models the labels.

    Raises:
        ValueError: Without a classifier, or with too few test images.
    """
    if context.classifier is None or len(context.x) < MIN_TEST:
        few = f"{len(context.x)} test images, fewer than {MIN_TEST}"
        raise ValueError(NO_CLASSIFIER if context.classifier is None else few)
    n = min(context.config.n_samples, len(context.x) // 2)
    n_codes = min(context.config.n_codes, len(context.data.x_train))
    note = "fitted after training, size by validation"
    yield row("mixture_components", context.mixture.n_components, n_codes, prior="mixture", note=note)
    train = context.classifier.features(context.images("train", slice(context.config.n_copied)))
    for seed in context.config.seeds:
        generated = _generated(context, n, seed)
        yield from _distance_rows(generated, n, seed)
        yield from _copy_rows(generated, train, min(n, MAX_COPIES), seed)
        if context.vae.num_classes:
            yield from _label_rows(generated, n, seed)


def _distance_rows(generated: _Generated, n: int, seed: int) -> Iterator[dict]:
    real = generated.real
    for kind, features in generated.features.items():
        for part in (n, n // 2, n // 4):  # biased upwards by about 1 / n: compare at one n only
            distance = sample_quality.frechet_distance(features[:part], real[:part])
            yield row("frechet_distance", distance, part, *kind, seed=seed)
        yield row(
            "kernel_distance",
            sample_quality.kernel_distance(features, real, seed=seed)[0],
            n,
            *kind,
            seed=seed,
        )
        for metric, share in sample_quality.precision_recall(real, features).items():
            yield row(metric, share, n, *kind, seed=seed)


def _copy_rows(generated: _Generated, train: np.ndarray, n: int, seed: int) -> Iterator[dict]:
    kinds = list(generated.features)
    samples = np.concatenate([generated.features[kind][:n] for kind in kinds])
    found = sample_quality.nearest_neighbours(samples, train, generated.real[:n], COPIED_QUANTILE)
    note = f"among {len(train):,} training images; {COPIED_QUANTILE:g} expected of new ones"
    for kind, share in zip(kinds, found["copied"].reshape(len(kinds), n).mean(axis=1), strict=True):
        yield row("copied_share", share, n, *kind, seed=seed, note=note)


def _label_rows(generated: _Generated, n: int, seed: int) -> Iterator[dict]:
    for kind, labels in generated.labels.items():
        accuracy = np.mean(generated.predicted[kind] == labels)
        yield row("classifier_accuracy", accuracy, n, *kind, seed=seed, note="of the label asked for")
    try:
        real = within_class_diversity(generated.real, generated.real_labels)
        for kind, labels in generated.labels.items():
            spread = within_class_diversity(generated.features[kind], labels)
            note = "1 is as varied as real images"
            yield row("within_class_diversity", spread / real, n, *kind, seed=seed, note=note)
    except ValueError as error:
        yield from missing(("within_class_diversity",), str(error), "mean", "model")
