"""TrainConfig: everything that a run's result depends on, and nothing else."""

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass
from numbers import Integral, Real

from vae_lib.utils.errors import InputError

RESULTS_VERSION = 2  # raise it when the same config would give other numbers

LIKELIHOOD_NAMES = ("bernoulli", "discretized_logistic")

PRIORS = ("normal", "flow")

NETWORKS = ("conv", "mlp")

MIN_SIDE, MAX_SIDE, MAX_CHANNELS = 8, 128, 4  # of images, in pixels: what the networks take

ANNEALING = ("none", "linear", "cyclical")

STUDIES = ("smoke", "quick", "full")  # of `presets.comparisons`


@dataclass(frozen=True)
class TrainConfig:
    """One experiment. Every field is JSON-able, and every field changes the result.

    Attributes:
        dataset: A known name (`mnist`, `fashion_mnist`, ...) or the path of an image folder or .npz file.
        latent_dim: Size of z.
        beta: Weight of the rate (KL) against the distortion; 0 gives an autoencoder that ignores the rate.
        likelihood: `discretized_logistic` (8-bit pixels, has bits per dim) or `bernoulli`.
        prior: `normal`, N(0, I), or `flow`, a small normalising flow learned with the model.
        network: `conv`, strided convolutions, or `mlp`, two dense layers each way.
        conditional: Give encoder and decoder the label, for generation by label.
        binarize: Draw binary pixels with the grey levels as probabilities, anew at every step.
        epochs: Passes over the training images.
        batch_size: Images per gradient step.
        learning_rate: Peak of Adam's schedule: a short warm-up, then a cosine down to zero.
        weight_decay: Of AdamW, times the learning rate: hardly felt in a few epochs, it keeps long trainings
            from learning by heart (Loshchilov and Hutter 2019, arXiv:1711.05101).
        annealing: How beta is reached: `none`, `linear` or `cyclical` (Fu et al. 2019, arXiv:1903.10145).
        anneal_epochs: Epochs until beta is reached (linear), or the length of one cycle (cyclical).
        width: Channels of the first stride-2 stage; each later one doubles them, up to eight times as many.
        dense_units: Units of the dense layer on each side of z.
        image_size: Side to which folder images are resized and cropped; None keeps their size.
        n_train: Train on the first n images only; None takes all.
        seed: Seed of weights, order and noise.
    """

    dataset: str = "fashion_mnist"
    latent_dim: int = 16
    beta: float = 1.0
    likelihood: str = "discretized_logistic"
    prior: str = "normal"
    network: str = "conv"
    conditional: bool = False
    binarize: bool = False
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    annealing: str = "none"
    anneal_epochs: float = 0.0
    width: int = 16
    dense_units: int = 256
    image_size: int | None = None
    n_train: int | None = None
    seed: int = 0

    def __post_init__(self):
        """Check every field.

        Raises:
            InputError: Naming the field, the value received and what is allowed.
        """
        for name, top in _INTEGERS.items():
            self._check_integer(name, 0 if name == "seed" else 1, top)
        for name in ("beta", "learning_rate", "weight_decay", "anneal_epochs"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
                raise InputError(f"{name} must be a finite number; received {value!r}")
            if value < 0:
                raise InputError(f"{name} must not be negative; received {value!r}")
            object.__setattr__(self, name, float(value))
        if self.learning_rate == 0:
            raise InputError("learning_rate must be positive; received 0.0")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"{name} must be one of {', '.join(allowed)}; received {getattr(self, name)!r}"
                )
        for name in ("conditional", "binarize"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} must be true or false; received {getattr(self, name)!r}")
        if self.binarize and self.likelihood != "bernoulli":
            raise InputError(f"binarize needs likelihood bernoulli; received {self.likelihood!r}")
        if self.prior == "flow" and self.latent_dim < 2:
            raise InputError(f"prior 'flow' needs latent_dim of at least 2; received {self.latent_dim}")
        if not isinstance(self.dataset, str) or not self.dataset.strip():
            raise InputError(f"dataset must be a name or a path; received {self.dataset!r}")
        self._check_annealing()

    def _check_integer(self, name: str, low: int, top: int) -> None:
        value = getattr(self, name)
        if value is None and name in ("image_size", "n_train"):
            return
        if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= top:
            raise InputError(f"{name} must be an integer from {low} to {top}; received {value!r}")
        object.__setattr__(self, name, int(value))  # NumPy's are no JSON

    def _check_annealing(self) -> None:
        if self.annealing == "none" and self.anneal_epochs:
            raise InputError(
                f"anneal_epochs is {self.anneal_epochs} but annealing is 'none': choose linear or cyclical"
            )
        if self.annealing != "none" and not 0 < self.anneal_epochs < self.epochs:
            raise InputError(
                f"{self.annealing} annealing must finish within the run: anneal_epochs must lie between 0 "
                f"and epochs ({self.epochs}); received {self.anneal_epochs}"
            )
        cycles = self.epochs / self.anneal_epochs if self.anneal_epochs else 0.0
        if self.annealing == "cyclical" and not math.isclose(cycles, round(cycles)):
            raise InputError(
                f"cyclical annealing must end with a whole cycle: epochs ({self.epochs}) must be a multiple "
                f"of anneal_epochs; received {self.anneal_epochs}"
            )

    def to_dict(self) -> dict:
        """Return the fields as a JSON-able dict."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict) -> "TrainConfig":
        """Build a config from `to_dict`'s output.

        Raises:
            InputError: If a field is unknown, missing or has a bad value.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown, missing = set(fields) - known, known - set(fields)
        if unknown:
            raise InputError(f"config has unknown fields: {', '.join(sorted(unknown))}")
        if missing:  # today's default may not be what the run was made with
            raise InputError(f"config lacks {', '.join(sorted(missing))}: another version wrote it")
        return cls(**fields)

    def difference(self, other: "TrainConfig") -> str:
        """Return the fields that differ, as `name: mine -> other's`, or an empty string."""
        mine, others = self.to_dict(), other.to_dict()
        return ", ".join(
            f"{name}: {mine[name]} -> {others[name]}" for name in mine if mine[name] != others[name]
        )

    def run_name(self, data_fingerprint: str) -> str:
        """Return `<dataset>-z16-b4-s0-<hash8>`; the hash covers config, data and results version."""
        canonical = json.dumps([RESULTS_VERSION, data_fingerprint, self.to_dict()], sort_keys=True)
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:8]
        stem = re.sub(r"[^A-Za-z0-9]+", "_", self.dataset.rstrip("/").rsplit("/", 1)[-1]).strip("_") or "data"
        return f"{stem[:40]}-z{self.latent_dim}-b{self.beta:g}-s{self.seed}-{digest}"


def fits_model(height: int, width: int, channels: int = 1) -> bool:
    """Return whether the networks take images of this size."""
    return MIN_SIDE <= min(height, width) <= max(height, width) <= MAX_SIDE and 1 <= channels <= MAX_CHANNELS


def check_image_shape(image_shape: tuple[int, int, int], name: str, remedy: str) -> None:
    """Refuse images that the networks do not take.

    Args:
        image_shape: (height, width, channels).
        name: Of the argument or data set, for the message.
        remedy: What to do instead.

    Raises:
        InputError: If a side or the number of channels is out of range.
    """
    if len(image_shape) != 3 or not fits_model(*image_shape):
        raise InputError(
            f"{name}: received images of shape {tuple(image_shape)}; the model takes (height, width, "
            f"channels) with sides of {MIN_SIDE} to {MAX_SIDE} pixels and 1 to {MAX_CHANNELS} channels: {remedy}"
        )


CHOICES = {
    "likelihood": LIKELIHOOD_NAMES,
    "prior": PRIORS,
    "network": NETWORKS,
    "annealing": ANNEALING,
}

_INTEGERS = {
    "latent_dim": 4096,
    "epochs": 100_000,
    "batch_size": 65_536,
    "width": 512,
    "dense_units": 65_536,
    "image_size": MAX_SIDE,
    "n_train": 10**9,
    "seed": 2**31 - 1,
}


def annealed_beta(step: int, beta: float, annealing: str, anneal_steps: float) -> float:
    """Return the weight of the rate at a training step: a pure function of the step.

    Args:
        step: Gradient steps taken so far.
        beta: The final weight.
        annealing: `none`; `linear`, from 0 up to beta over `anneal_steps`, then constant; `cyclical`:
            cycles of `anneal_steps`, each rising over its first half and constant over its second.
        anneal_steps: Length of the rise or of one cycle, in steps.
    Source: Bowman et al. 2016, arXiv:1511.06349 (linear); Fu et al. 2019, arXiv:1903.10145 (cyclical).
    """
    if annealing == "none":
        return beta
    if annealing == "linear":
        return beta * min(1.0, step / anneal_steps)
    return beta * min(1.0, 2.0 * (step % anneal_steps) / anneal_steps)


@dataclass(frozen=True)
class EvaluationConfig:
    """How many images and seeds stand behind a scorecard; figures compare at equal protocol only.

    Attributes:
        seeds: Seeds of the evaluation's noise and choices, at least two.
        n_samples: Generated images of each kind, and real ones beside them; at most half of the test images.
        n_iwae: Test images of the importance bound.
        iwae_k: Importance weights an image.
        n_codes: Training images whose codes serve the readers and the mixture prior.
        n_pairs: Test images of the aggregate posterior; the time grows as its square.
        n_tsne: Test images of the t-SNE.
        n_dci: Test images of DCI, whose forests are slow.
        n_copied: Training images that copies are looked for among.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    n_samples: int = 2000
    n_iwae: int = 500
    iwae_k: int = 50
    n_codes: int = 5000
    n_pairs: int = 2000
    n_tsne: int = 1000
    n_dci: int = 2000
    n_copied: int = 60_000

    def to_dict(self) -> dict:
        """Return the fields as a JSON-able dict."""
        return {**dataclasses.asdict(self), "seeds": list(self.seeds)}
