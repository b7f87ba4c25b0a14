"""Classifier: a small CNN trained on one data set, whose features and labels score generated images.

Its penultimate layer is the feature space of the sample measures, its labels those of reconstructions and
conditional samples. It sees training images only, and it is an instrument, not a result: equal data, seed and
thread count give an equal one, so figures are comparable within one data set and nowhere else.
"""

import dataclasses
import hashlib
import itertools
import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from filelock import FileLock
from keras import layers

from vae_lib.data.dataset import ImageDataset
from vae_lib.models.networks import initialize
from vae_lib.models.weights import load_weights
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import atomic_write, write_json
from vae_lib.utils.runtime import thread_count

VERSION = 1  # raise it when the same config would give another classifier
EVALUATION_BATCH = 500
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassifierConfig:
    """How a classifier is made."""

    epochs: int = 8  # passes over the training images
    min_steps: int = 600  # gradient steps at least: a small set is passed over more often,
    max_epochs: int = 60  # up to so many times
    max_steps: int = 5000  # gradient steps at most, so that a large folder stays a matter of minutes
    batch_size: int = 128  # images per step
    learning_rate: float = 3e-3  # peak of Adam's schedule: a warm-up, then a cosine down to zero
    width: int = 32  # channels of the first convolution
    n_features: int = 64  # units of the penultimate layer
    seed: int = 0  # of weights, order and shifts

    def total_steps(self, n_images: int) -> int:
        """Return the gradient steps taken on so many training images."""
        per_epoch = math.ceil(n_images / self.batch_size)
        few = max(self.epochs * per_epoch, min(self.min_steps, self.max_epochs * per_epoch))
        return min(few, self.max_steps)


class Classifier:
    """A CNN from images to classes.

    Args:
        image_shape: (height, width, channels).
        n_classes: Classes, at least 2.
        config: Its sizes and seed.

    Attributes:
        accuracy: On the test images; NaN before training.
        seconds: Wall time of the training; NaN before it.
    """

    def __init__(self, image_shape: tuple[int, int, int], n_classes: int, config: ClassifierConfig):
        self.image_shape, self.n_classes, self.config = tuple(image_shape), n_classes, config
        self.network, self._outputs = _make_networks(self.image_shape, n_classes, config)
        initialize(self.network, config.seed)
        self._outputs.jit_compile = False  # XLA is slower on a CPU
        self.accuracy = self.seconds = float("nan")

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return the activations of the penultimate layer.

        Args:
            x: Images, uint8 (n, h, w, c).

        Returns:
            float32 (n, n_features); each row has mean 0 and variance 1, so that no image, however strange,
            lies far outside and outweighs the others.
        """
        return self.read(x)[0]

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the most likely label of each image, int64 (n,)."""
        return self.read(x)[1]

    def score(self, x: np.ndarray, y: np.ndarray) -> float:
        """Return the share of images whose label is predicted, 0 to 1."""
        return float(np.mean(self.predict(x) == y))

    def read(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what `features` and `predict` return, in one pass."""
        if x.ndim != 4 or x.shape[1:] != self.image_shape or x.dtype != np.uint8 or not len(x):
            raise ValueError(
                f"`x` must be uint8 images (n, {', '.join(map(str, self.image_shape))}); received {x.dtype} "
                f"of shape {x.shape}. Use the classifier of the same data set."
            )
        features, logits = self._outputs.predict(x, batch_size=EVALUATION_BATCH, verbose=0)
        return features, logits.argmax(axis=1)


def _make_networks(
    image_shape: tuple[int, int, int], n_classes: int, config: ClassifierConfig
) -> tuple[keras.Model, keras.Model]:
    """Return x -> logits, to be trained, and x -> (features, logits) of the same layers."""
    x = image = keras.Input(image_shape, dtype="uint8")
    x = layers.Rescaling(1.0 / 127.5, offset=-1.0)(x)
    while max(x.shape[1:3]) > 16:  # to at most 16 by 16: full resolution costs most and brings little
        x = _convolution(x, config.width, kernel_size=5, strides=2)
    for filters in (2 * config.width, 4 * config.width):
        x = _convolution(x, filters, kernel_size=3)
        x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Dense(config.n_features)(layers.Flatten()(x))
    features = layers.LayerNormalization(center=False, scale=False)(x)
    logits = layers.Dense(n_classes)(features)
    return keras.Model(image, logits), keras.Model(image, [features, logits])


def _convolution(x, filters: int, **options):
    x = layers.Conv2D(filters, padding="same", use_bias=False, **options)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))  # 0.99 lags in a short training


def train_classifier(
    data: ImageDataset, config: ClassifierConfig | None = None, verbose: int = 0
) -> Classifier:
    """Train a classifier on the training images of a data set.

    Args:
        data: Images with labels of at least two classes, of any size that the VAE takes.
        config: How; None for the defaults.
        verbose: 1 prints a line per epoch of a large set.

    Returns:
        The classifier, its accuracy measured on the test images.

    Raises:
        InputError: If there are no labels, or of one class only.
    """
    config = config or ClassifierConfig()
    _check_labels(data)
    began = time.perf_counter()
    classifier = Classifier(data.image_shape, len(data.class_names), config)
    n_images = len(data.x_train)
    total_steps = config.total_steps(n_images)
    steps_shown = math.ceil(n_images / config.batch_size) if n_images >= 10_000 else total_steps
    peak, warmup = config.learning_rate, total_steps // 10
    schedule = keras.optimizers.schedules.CosineDecay(
        peak / 10, total_steps - warmup, warmup_target=peak, warmup_steps=warmup
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # A model of its own: the optimizer, twice the size of the weights, is not kept with the classifier.
    trained = keras.Model(classifier.network.inputs, classifier.network.outputs)
    trained.compile(keras.optimizers.Adam(schedule), loss, jit_compile=False)
    for step, batch in enumerate(itertools.islice(_batches(data, config), total_steps), 1):
        trained.train_on_batch(*batch)
        if verbose and (step == total_steps or step % steps_shown == 0):
            taken = f"step {step:,} of {total_steps:,}, {time.perf_counter() - began:,.0f} s"
            print(f"classifier of {data.name}: {taken}", flush=True)
    classifier.seconds = time.perf_counter() - began
    classifier.accuracy = classifier.score(np.asarray(data.x_test), data.y_test)
    return classifier


def has_classes(data: ImageDataset) -> bool:
    """Return whether there are labels, of two or more classes."""
    return data.y_train is not None and len(np.unique(data.y_train)) > 1


def _check_labels(data: ImageDataset) -> None:
    if not has_classes(data):
        have = "no labels" if data.y_train is None else "one class only"
        raise InputError(
            f"a classifier needs labels of two or more classes, and {data.source} has {have}: put the images "
            "in class folders, or leave the measures that need it out"
        )


def _batches(data: ImageDataset, config: ClassifierConfig) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield shifted training images and their labels, epoch after epoch without end."""
    for epoch in itertools.count():
        rng = np.random.default_rng([config.seed, epoch])
        order = rng.permutation(len(data.x_train))
        for i in range(0, len(order), config.batch_size):
            rows = order[i : i + config.batch_size]
            yield _shifted(data.x_train[rows], rng), data.y_train[rows]


def _shifted(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shift each image by up to a twelfth of its size; what enters repeats the edge."""
    height, width = x.shape[1:3]
    reach = height // 12, width // 12
    padded = np.pad(x, ((0, 0), (reach[0],) * 2, (reach[1],) * 2, (0, 0)), mode="edge")
    top, left = (rng.integers(0, 2 * r + 1, (len(x), 1, 1)) for r in reach)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    return padded[np.arange(len(x))[:, None, None], top + rows, left + columns]


def load_classifier(
    data: ImageDataset,
    models_dir: Path | str = "models",
    config: ClassifierConfig | None = None,
    verbose: int = 0,
) -> Classifier:
    """Return the classifier of a data set: from `models_dir`, or trained now and kept there.

    Its directory is `classifier-<name>-<hash8>`; the hash covers config, data and version. `metrics.json`
    is written last. Only weights are read back, and a damaged file is made again.

    Args:
        data: Images with labels.
        models_dir: Where classifiers are kept, beside the runs.
        config: How it is trained; None for the defaults.
        verbose: 1 prints a line per epoch of a training.

    Raises:
        InputError: If there are no labels, or `models_dir` cannot be written.
    """
    config = config or ClassifierConfig()
    _check_labels(data)
    content = [VERSION, data.fingerprint(), dataclasses.asdict(config)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    directory = Path(models_dir) / f"classifier-{data.name}-{digest}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / "classifier.lock"):  # one trains, others wait and find it done
            return _read(directory, data, config) or _train_and_write(directory, data, config, verbose)
    except OSError as error:
        raise InputError(f"cannot write to {directory} ({error.strerror}): choose --models_dir") from None


def _read(directory: Path, data: ImageDataset, config: ClassifierConfig) -> Classifier | None:
    """Return the classifier kept in a directory, None where there is none or it is damaged."""
    classifier = Classifier(data.image_shape, len(data.class_names), config)
    try:
        metrics = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
        classifier.accuracy, classifier.seconds = metrics["test_accuracy"], metrics["seconds"]
        load_weights(classifier.network, directory / "classifier.keras")
    except FileNotFoundError:
        return None
    except (KeyError, ValueError) as error:  # among them InputError
        _logger.warning("training the classifier in %s again: %s", directory.name, error)
        return None
    return classifier


def _train_and_write(
    directory: Path, data: ImageDataset, config: ClassifierConfig, verbose: int
) -> Classifier:
    classifier = train_classifier(data, config, verbose)
    write_json(directory / "config.json", {"config": dataclasses.asdict(config), "data": data.describe()})
    atomic_write(directory / "classifier.keras", classifier.network.save)
    metrics = {"test_accuracy": classifier.accuracy, "n_test": len(data.x_test)}
    metrics |= {"seconds": round(classifier.seconds, 2), "threads": thread_count()}
    write_json(directory / "metrics.json", metrics)
    return classifier
