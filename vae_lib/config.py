"""The options of an experiment: meaning, default, allowed values, and which of them go together.

Each option is described once, beside its default: validation, the command line and `help()` read it there.
"""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real

from vae_lib.utils.errors import InputError

RESULTS_VERSION = 2  # raise it when the same config would give other numbers

MIN_SIDE, MAX_SIDE, MAX_CHANNELS = 8, 256, 4  # of images, in pixels: what the networks take

EXPORT_FORMATS = ("saved_model", "onnx", "litert")  # of `apps.export_model`

MEASURES = ("bits_per_dim", "elbo", "mse", "psnr")  # of `apps.tune`

STUDIES = ("smoke", "quick", "full")  # of `study.grids.preset_comparisons`


def _option(
    default, text: str, kind: type, allowed: str, fits: Callable, choices: tuple | None = None, added=False
):
    """Return a dataclass field; a default of None makes it optional.

    A field that was added after runs had been named has a default that leaves their numbers as they were, and
    is part of a name only where it has another value: so these runs keep theirs.
    """
    metadata = {"help": text, "kind": kind, "allowed": allowed, "fits": fits, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata | {"added": added})


def _is_integer(value, low: int, high: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and low <= value <= high


def _integer(default: int | None, text: str, low: int = 1, high: int = 10**9):
    allowed = f"an integer from {low} to {high}"
    return _option(default, text, int, allowed, lambda value: _is_integer(value, low, high))


def _integers(text: str, high: int):
    def fits(values):
        return isinstance(values, tuple | list) and all(_is_integer(value, 1, high) for value in values)

    return _option(None, text, tuple, f"integers from 1 to {high}", fits, added=True)


def _are_seeds(values) -> bool:
    several = isinstance(values, tuple | list) and all(_is_integer(value, 0, 2**31 - 1) for value in values)
    return several and len(set(values)) == len(values) > 1


def _number(default: float, text: str, positive: bool = False, high: float = math.inf, added: bool = False):
    def fits(value):
        number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        return number and (value > 0 if positive else value >= 0) and value <= high

    allowed = " above 0" if positive else ", 0 or more" if high == math.inf else f" from 0 to {high:g}"
    return _option(default, text, float, f"a finite number{allowed}", fits, added=added)


def _choice(default: str | None, text: str, *names: str, added: bool = False):
    allowed = f"one of {', '.join(names)}"
    return _option(default, text, str, allowed, lambda value: value in names, names, added)


def _flag(text: str):
    return _option(False, text, bool, "true or false", lambda value: isinstance(value, bool))


def _documented(cls):
    """Append the fields and their help texts to a class's docstring."""
    lines = (f"        {field.name}: {field.metadata['help']}." for field in dataclasses.fields(cls))
    cls.__doc__ = "\n".join([f"{cls.__doc__}\n\n    Attributes:", *lines])
    return cls


class _Options:
    """What configs share: every field is checked, and kept as a plain Python object that JSON can hold."""

    def __post_init__(self):
        """Check every field.

        Raises:
            InputError: Naming the field, what is allowed and the value received.
        """
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, self.check(field.name, getattr(self, field.name)))

    @classmethod
    def check(cls, name: str, value):
        """Return the value of the field called `name`, wherever it was given, or raise InputError."""
        field = cls.__dataclass_fields__[name]
        if value is None and field.default is None:
            return None
        if not field.metadata["fits"](value):
            raise InputError(f"{name} must be {field.metadata['allowed']}; received {value!r}")
        value = field.metadata["kind"](value)
        return tuple(map(int, value)) if isinstance(value, tuple) else value  # plain ones, not NumPy's

    def to_dict(self) -> dict:
        """Return the fields as a JSON-able dict."""
        fields = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


@_documented
@dataclass(frozen=True)
class TrainConfig(_Options):
    """One experiment: everything that its result depends on, in values that JSON can hold."""

    dataset: str = _option(
        "fashion_mnist",
        "mnist, fashion_mnist, cifar10, digits, sprites, color_sprites, or a path",
        str,
        "a name or a path",
        lambda value: isinstance(value, str) and value.strip(),
    )
    latent_dim: int = _integer(16, "size of z", high=4096)
    beta: float = _number(  # 32-bit floats cannot hold the square of its gradient if it is very large
        1.0, "weight of the rate (KL) in the loss; 0 gives a plain autoencoder", high=1e9
    )
    likelihood: str = _choice(
        "discretized_logistic", "p(x|z): of binary or of 8-bit pixels", "bernoulli", "discretized_logistic"
    )
    prior: str | None = _choice(
        None,
        "p(z): N(0, I), a Gaussian for each class, or a small flow, given the label if there is one "
        "[normal; flow if conditional]",
        *("normal", "gaussian", "flow"),
    )
    network: str = _choice(
        "conv",
        "strided convolutions, the same with residual blocks, two dense layers each way, or latents on "
        "several scales",
        *("conv", "resnet", "mlp", "hierarchical"),
    )
    channels: str = _choice(
        "in_turn",
        "how 8-bit channels of a pixel are modelled: each given those before it, which costs fewer bits, or "
        "independently, which leaves the pictures of a flat network more of their shapes",
        *("in_turn", "independent"),
        added=True,
    )
    scale_latents: tuple[int, ...] | None = _integers(
        "hierarchical: latent channels of each scale below z, coarsest first", 256
    )
    scale_blocks: tuple[int, ...] | None = _integers("hierarchical: blocks of each scale, coarsest first", 64)
    conditional: bool = _flag("give encoder and decoder the label, for generation by label")
    binarize: bool = _flag("draw binary pixels with the grey levels as probabilities, again at every step")
    epochs: int = _integer(10, "passes over the training images", high=100_000)
    batch_size: int = _integer(64, "images per gradient step", high=65_536)
    learning_rate: float = _number(3e-3, "Adam's peak: a warm-up, then a cosine down to zero", positive=True)
    weight_decay: float = _number(0.02, "AdamW's (arXiv:1711.05101): reduces overfitting in long trainings")
    tc_weight: float = _number(
        0.0, "weight of the total correlation beside the rate (arXiv:1802.04942)", high=1e9, added=True
    )
    ema: float = _number(
        0.0, "decay of averaged weights, kept where they validate better; 0 for none", high=0.9999, added=True
    )
    annealing: str = _choice("none", "how beta is reached (arXiv:1903.10145)", "none", "linear", "cyclical")
    anneal_epochs: float = _number(0.0, "epochs until beta is reached (linear), or of one cycle (cyclical)")
    width: int = _integer(16, "channels of the first convolution; later ones have up to 8 x width", high=512)
    dense_units: int = _integer(256, "units of each dense layer", high=65_536)
    image_size: int | None = _integer(None, "side that images of a folder are resized to", MIN_SIDE, MAX_SIDE)
    n_train: int | None = _integer(None, "train on the first n images, else on all")
    seed: int = _integer(0, "seed of weights, order and noise", low=0, high=2**31 - 1)

    def __post_init__(self):
        """Check every field, and which of them go together."""
        super().__post_init__()
        if self.binarize and self.likelihood != "bernoulli":  # of 8-bit pixels
            raise InputError(f"binarize needs likelihood bernoulli; received {self.likelihood!r}")
        if self.prior is None:
            learned = "flow" if self.latent_dim > 1 else "gaussian"
            object.__setattr__(self, "prior", learned if self.conditional else "normal")
        check_prior(self.prior, self.latent_dim)
        if self.prior == "gaussian" and not self.conditional:
            raise InputError("prior gaussian, one for each class, needs conditional; received False")
        self._check_scales()
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

    def _check_scales(self) -> None:
        """Check what belongs to a hierarchical model, or to a flat one, alone."""
        hierarchical = self.network == "hierarchical"
        for name in ("scale_latents", "scale_blocks"):
            if getattr(self, name) is not None and not hierarchical:
                raise InputError(f"{name} needs network hierarchical; received network {self.network!r}")
        if self.tc_weight and hierarchical:
            raise InputError(f"tc_weight is for flat networks, of one z; received network {self.network!r}")

    @classmethod
    def from_dict(cls, fields: dict) -> "TrainConfig":
        """Build a config from the output of `to_dict`, which may lack fields that were added later.

        Raises:
            InputError: If a field is unknown, missing or has a bad value.
        """
        known = cls.__dataclass_fields__
        required = {name for name, field in known.items() if not field.metadata["added"]}
        unknown, missing = set(fields) - set(known), required - set(fields)
        if unknown:
            raise InputError(f"config has unknown fields: {', '.join(sorted(unknown))}")
        if missing:  # today's default may not be what the run was made with
            raise InputError(f"config lacks {', '.join(sorted(missing))}: another version wrote it")
        return cls(**fields)

    def naming(self) -> dict:
        """Return what names a run: of the fields that were added later, those not at their default."""
        added = {name: field for name, field in self.__dataclass_fields__.items() if field.metadata["added"]}
        return {k: v for k, v in self.to_dict().items() if k not in added or v != added[k].default}

    def difference(self, other: "TrainConfig") -> str:
        """Return the fields that differ, as `name: mine -> other's`, or an empty string."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__}
        return ", ".join(f"{name}: {a} -> {b}" for name, (a, b) in pairs.items() if a != b)

    def beta_at(self, step: int, steps_per_epoch: int) -> float:
        """Return the weight of the rate at a training step; it is low while the decoder learns to use z.

        It rises evenly from 0: `linear`, once; `cyclical`, over the first half of each cycle.

        Args:
            step: Gradient steps taken so far.
            steps_per_epoch: Gradient steps of an epoch.
        Source: Bowman et al. 2016, arXiv:1511.06349 (linear); Fu et al. 2019, arXiv:1903.10145 (cyclical).
        """
        if self.annealing == "none":
            return self.beta
        length = self.anneal_epochs * steps_per_epoch
        if self.annealing == "linear":
            return self.beta * min(1.0, step / length)
        return self.beta * min(1.0, 2.0 * (step % length) / length)

    def run_name(self, data_fingerprint: str) -> str:
        """Return `<dataset>-z16-b4-s0-<hash8>`; the hash covers config, data and results version."""
        canonical = json.dumps([RESULTS_VERSION, data_fingerprint, self.naming()], sort_keys=True)
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:8]
        stem = re.sub(r"[^A-Za-z0-9]+", "_", self.dataset.rstrip("/").rsplit("/", 1)[-1]).strip("_") or "data"
        return f"{stem[:40]}-z{self.latent_dim}-b{self.beta:g}-s{self.seed}-{digest}"


def check_prior(prior: str, latent_dim: int) -> None:
    """Refuse a flow over a single latent: each of its couplings moves one half of z by the other."""
    if prior == "flow" and latent_dim < 2:
        raise InputError(f"prior 'flow' needs latent_dim of at least 2; received {latent_dim}")


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
            f"channels) with sides of {MIN_SIDE} to {MAX_SIDE} pixels and "
            f"1 to {MAX_CHANNELS} channels: {remedy}"
        )


@_documented
@dataclass(frozen=True)
class EvaluationConfig(_Options):
    """How many images and seeds stand behind a scorecard; compare figures of equal ones only."""

    seeds: tuple[int, ...] = _option(
        (0, 1, 2),
        "seeds of noise and choices",
        tuple,
        "two integers or more, no two alike",
        _are_seeds,
    )
    n_samples: int = _integer(2000, "generated and real images compared, at most half of the test images")
    n_iwae: int = _integer(500, "test images of the importance-weighted bound")
    iwae_k: int = _integer(50, "importance weights per image")
    n_codes: int = _integer(5000, "training images whose codes serve the probes and the mixture prior")
    n_pairs: int = _integer(2000, "test images of the aggregate posterior; the time grows as its square")
    n_tsne: int = _integer(1000, "test images of the t-SNE")
    n_dci: int = _integer(2000, "test images of DCI, whose forests are slow")
    n_copied: int = _integer(60_000, "training images among which copies are searched for")
