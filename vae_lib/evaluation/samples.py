"""Generation: images from a VAE's priors, and how they differ from real ones in a classifier's features.

Decoder means and draws from p(x|z) are two things: means are smoother than any image, draws carry the noise
of independent pixels. Both are judged, by name, beside real images at the same n, which are the floor.
"""

from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from vae_lib.evaluation.context import NO_CLASSIFIER, EvaluationContext
from vae_lib.evaluation.metric_table import MeasureTable
from vae_lib.metrics import sample_quality

FLOOR = "real images (floor)"
MIN_TEST = 50  # test images below which sample measures would say nothing
MAX_COPIES = 1000  # samples of a kind whose nearest training image is looked for
COPIED_QUANTILE = 0.01  # of held-out images, which are no copies, lie as near


def generate(
    subject: EvaluationContext, n: int, seed: int, y: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return uint8 images of every kind: means and draws, from the model's prior and from a fitted mixture.

    Args:
        subject: The model, and the images that the mixture is fitted to.
        n: Images of each kind.
        seed: Of z and of the pixels' noise.
        y: Labels (n,) for a conditional model.
    """
    vae = subject.vae
    mixture = subject.mixture.set_params(random_state=seed)
    z = np.random.default_rng(seed).permutation(mixture.sample(n)[0])
    images = {}
    for kind, draw in (("decoder means", False), ("draws from p(x|z)", True)):
        images[f"{kind}, {subject.prior_name}"] = vae.sample(n, y, seed=seed, draw=draw)
        images[f"{kind}, mixture prior"] = vae.decode(z, y, draw=draw, seed=seed)
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


class _Drawn:
    """Features and labels of generated images of every kind and of real ones, for one evaluation seed."""

    def __init__(self, subject: EvaluationContext, n: int, seed: int):
        # Two disjoint halves of real images: one to compare with, one that shows the floor at the same n.
        rows = np.random.default_rng(seed).permutation(len(subject.x))
        real, floor = rows[:n], rows[n : 2 * n]
        given, classifier = subject.given("test"), subject.classifier
        self.asked = None if given is None else given[real]
        images = {**generate(subject, n, seed, self.asked), FLOOR: subject.x[floor]}
        labels = {kind: self.asked for kind in images}
        if given is not None:
            labels[FLOOR] = given[floor]
        self.real = classifier.features(subject.x[real])
        self.features = {kind: classifier.features(x) for kind, x in images.items()}
        self.labels = labels
        self.predicted = {kind: classifier.predict(x) for kind, x in images.items()}


def take_generation(subject: EvaluationContext, table: MeasureTable) -> None:
    """Add distances of generated images from real ones, copies, and for conditional models the labels."""
    names = "frechet_distance, kernel_distance, precision, recall, copied_share"
    if subject.classifier is None or len(subject.x) < MIN_TEST:
        few = f"{len(subject.x)} test images, fewer than {MIN_TEST}"
        table.leave_out(names, "generated images", NO_CLASSIFIER if subject.classifier is None else few)
        return
    n = min(subject.protocol.n_samples, len(subject.x) // 2)
    drawn = {seed: _Drawn(subject, n, seed) for seed in subject.protocol.seeds}
    n_codes = min(subject.protocol.n_codes, len(subject.data.x_train))
    note = "fitted after training, size by validation"
    table.put("mixture_components", "mixture prior", n_codes, subject.mixture.n_components, note)
    _take_distances(drawn, n, table)
    _take_copies(subject, drawn, min(n, MAX_COPIES), table)
    if subject.vae.num_classes:
        table.begin("conditional generation")
        _take_labels(drawn, n, table)


def _kinds(drawn: dict[int, _Drawn]) -> list[str]:
    return list(next(iter(drawn.values())).features)


def _take_distances(drawn: dict[int, _Drawn], n: int, table: MeasureTable) -> None:
    def frechet(kind, n, seed):
        one = drawn[seed]
        return {"frechet_distance": sample_quality.frechet_distance(one.features[kind][:n], one.real[:n])}

    def others(kind, seed):
        one = drawn[seed]
        kernel, _ = sample_quality.kernel_distance(one.features[kind], one.real, seed=seed)
        return {"kernel_distance": kernel, **sample_quality.precision_recall(one.real, one.features[kind])}

    for kind in _kinds(drawn):
        for part in (n, n // 2, n // 4):  # biased upwards by about 1 / n: read it at one n only
            table.take(("frechet_distance",), kind, part, partial(frechet, kind, part), tuple(drawn))
        names = ("kernel_distance", "precision", "recall")
        table.take(names, kind, n, partial(others, kind), tuple(drawn))


def _take_copies(subject: EvaluationContext, drawn: dict[int, _Drawn], n: int, table: MeasureTable) -> None:
    train = subject.classifier.features(subject.images("train", slice(subject.protocol.n_copied)))
    kinds, shares = _kinds(drawn), {}
    for seed, one in drawn.items():
        samples = np.concatenate([one.features[kind][:n] for kind in kinds])
        found = sample_quality.nearest_neighbours(samples, train, one.real[:n], COPIED_QUANTILE)
        shares[seed] = dict(zip(kinds, found["copied"].reshape(len(kinds), n).mean(axis=1), strict=True))
    note = f"among {len(train):,} training images; {COPIED_QUANTILE:g} expected of new ones"
    for kind in kinds:
        share = {seed: {"copied_share": by_kind[kind]} for seed, by_kind in shares.items()}
        table.take(("copied_share",), kind, n, share.__getitem__, tuple(drawn), note)


def _take_labels(drawn: dict[int, _Drawn], n: int, table: MeasureTable) -> None:
    def accuracy(kind, seed):
        one = drawn[seed]
        return {"classifier_accuracy": np.mean(one.predicted[kind] == one.labels[kind])}

    def diversity(kind, seed):
        one = drawn[seed]
        spread = within_class_diversity(one.features[kind], one.labels[kind])
        return {"within_class_diversity": spread / within_class_diversity(one.real, one.asked)}

    for kind in _kinds(drawn):
        table.take(
            ("classifier_accuracy",), kind, n, partial(accuracy, kind), tuple(drawn), "of the label asked"
        )
        note = "1 is as varied as real images"
        table.take(("within_class_diversity",), kind, n, partial(diversity, kind), tuple(drawn), note)
