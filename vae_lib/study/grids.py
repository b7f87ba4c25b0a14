"""The grids of a study: which configs are compared, by preset or as you choose."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

from vae_lib.config import STUDIES, EvaluationConfig, TrainConfig
from vae_lib.utils.errors import InputError

REAL = ("fashion_mnist", "cifar10")
LATENT_DIM = 32  # where something else is compared

# Cheaper than the evaluation of a single model: a study has many.
STUDY_EVALUATION = EvaluationConfig(
    seeds=(0, 1), n_samples=2000, n_iwae=100, iwae_k=20, n_codes=5000, n_pairs=1000, n_tsne=500, n_dci=2000,
    n_copied=10_000,
)  # fmt: skip


def grid(base: TrainConfig, **axes: Iterable) -> tuple[TrainConfig, ...]:
    """Return a config for every combination of the values of some fields.

    Args:
        base: Every other field.
        axes: Field name -> values, such as `latent_dim=(2, 8, 32), seed=range(3)`.
    """
    combinations = itertools.product(*axes.values())
    return tuple(dataclasses.replace(base, **dict(zip(axes, values, strict=True))) for values in combinations)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs that differ in one setting and the seed."""

    setting: str  # the field of the config that is compared
    configs: tuple[TrainConfig, ...]  # a config may serve in several comparisons, and is trained once
    within: str = "dataset"  # the field whose values are kept apart


def compare(
    base: TrainConfig, setting: str, values: Iterable, seeds: Iterable[int] = (0,), within="dataset", **axes
) -> Comparison:
    """Return a comparison of some values of a setting, at every combination of those of other fields.

    Args:
        base: Every other field.
        setting: The field that is compared.
        values: Its values.
        seeds: Of the runs of each cell.
        within: The field whose values are kept apart.
        axes: Other fields -> values, as in `grid`.
    """
    return Comparison(setting, grid(base, **axes, **{setting: values}, seed=seeds), within)


def preset_comparisons(preset: str) -> dict[str, Comparison]:
    """Return what a preset compares, by name.

    Args:
        preset: `smoke`, a test on embedded data; `quick`, minutes, one seed; `full`, hours, three seeds.

    Raises:
        InputError: If there is no such preset.
    """
    if preset == "smoke":
        base = TrainConfig(dataset="digits", latent_dim=4, epochs=1, n_train=500, width=4, dense_units=16)
        return {
            "latent_size": compare(base, "latent_dim", (2, 4), (0, 1)),
            "beta": compare(base, "beta", (1.0, 4.0), (0, 1)),
        }
    if preset == "quick":
        base = TrainConfig(latent_dim=LATENT_DIM, epochs=3, n_train=12_000)
        return {
            "latent_size": compare(base, "latent_dim", (2, 8, 32), dataset=REAL),
            "beta": compare(base, "beta", (0.25, 1.0, 4.0, 16.0)),
        }
    if preset == "full":
        return _full_comparisons()
    raise InputError(f"preset must be one of {', '.join(STUDIES)}; received {preset!r}")


def _full_comparisons() -> dict[str, Comparison]:
    base, seeds = TrainConfig(latent_dim=LATENT_DIM, epochs=5), range(3)
    color = dataclasses.replace(base, dataset="cifar10")
    labelled = dataclasses.replace(base, conditional=True)
    sprites = TrainConfig(dataset="sprites", latent_dim=10, epochs=40)
    # An epoch of the hierarchical network takes as long as three (grey) to six (colour) of the flat one.
    families = (base, dataclasses.replace(base, network="hierarchical", epochs=1, batch_size=32))
    return {
        "data_set": compare(base, "dataset", (*REAL, "mnist"), seeds, within="beta"),
        "family": Comparison(
            "network", tuple(c for f in families for c in grid(f, dataset=(*REAL, "mnist"), seed=seeds))
        ),
        "channels": compare(color, "channels", ("independent", "in_turn"), seeds),
        "latent_size": compare(base, "latent_dim", (2, 4, 8, 16, 32, 64, 128), seeds, dataset=REAL),
        "training_length": compare(
            base, "latent_dim", (16, 32, 64, 128), seeds, within="epochs", epochs=(1, 5, 20)
        ),
        "beta": compare(base, "beta", (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0), seeds, dataset=REAL),
        "disentanglement": compare(sprites, "beta", (1.0, 2.0, 4.0, 8.0, 16.0, 32.0), seeds),
        "total_correlation": compare(sprites, "tc_weight", (0.0, 3.0, 7.0, 15.0), seeds),
        "likelihood": compare(base, "likelihood", ("bernoulli", "discretized_logistic"), seeds),
        "prior": compare(base, "prior", ("normal", "flow"), seeds, dataset=(*REAL, "mnist")),
        "conditional": compare(base, "conditional", (False, True), seeds),
        "label_prior": compare(
            labelled, "prior", ("normal", "gaussian", "flow"), seeds, dataset=("fashion_mnist", "mnist")
        ),
    }


def sweep(
    base: TrainConfig, latent_dims: Sequence[int], betas: Sequence[float], n_seeds: int
) -> dict[str, Comparison]:
    """Return a comparison of latent sizes, at the first beta, and one of betas, at the last size.

    Args:
        base: What all runs share: the data set, the epochs.
        latent_dims: Sizes of z.
        betas: Weights of the rate.
        n_seeds: Runs of each cell, with the seeds 0, 1, ...
    """
    base = dataclasses.replace(base, latent_dim=latent_dims[-1], beta=betas[0])
    sizes = compare(base, "latent_dim", latent_dims, range(n_seeds))
    found = {"latent_size": sizes} if len(latent_dims) > 1 else {}
    if len(betas) > 1 or not found:
        found["beta"] = compare(base, "beta", betas, range(n_seeds))
    return found


def all_configs(preset: str) -> list[TrainConfig]:
    """Return the configs of all comparisons of a preset, each once."""
    return unique_configs(preset_comparisons(preset))


def unique_configs(comparisons: Mapping[str, Comparison]) -> list[TrainConfig]:
    """Return the configs of all comparisons, each once."""
    return list(dict.fromkeys(config for found in comparisons.values() for config in found.configs))


def sort_configs(configs: Iterable[TrainConfig]) -> list[TrainConfig]:
    """Return each config once, sorted by every field in turn; None comes first."""
    return sorted(set(configs), key=lambda c: [(value is not None, value) for value in c.to_dict().values()])


def shard(configs: Iterable[TrainConfig], number: int, n_shards: int) -> list[TrainConfig]:
    """Return the `number`-th of `n_shards` disjoint parts of a study, counted from 1, for a job array."""
    if not 1 <= number <= n_shards:
        allowed = f"1/{n_shards} to {n_shards}/{n_shards}"
        raise InputError(f"shard must be from {allowed}; received {number}/{n_shards}")
    return list(dict.fromkeys(configs))[number - 1 :: n_shards]


def showcase() -> dict[str, TrainConfig]:
    """Return the models that come with their weights; trained longer than a cell of the study."""
    base = TrainConfig(epochs=20)
    plain = grid(base, dataset=(*REAL, "mnist"), latent_dim=(LATENT_DIM, 2))
    models = {f"{config.dataset}-z{config.latent_dim}": config for config in plain}
    models["cifar10-z32-in_turn"] = models["cifar10-z32"]
    for name in ("cifar10-z32", "cifar10-z2"):  # whose pictures have more of the shapes
        models[name] = dataclasses.replace(models[name], channels="independent")
    models["cifar10-z128"] = dataclasses.replace(
        models["cifar10-z32"], latent_dim=128, width=32, dense_units=128
    )
    models["mnist-conditional"] = TrainConfig(dataset="mnist", epochs=20, conditional=True)
    models["sprites-beta"] = TrainConfig(dataset="sprites", latent_dim=10, beta=16.0, epochs=60)
    scales = TrainConfig(
        network="hierarchical", latent_dim=LATENT_DIM, width=24, dense_units=96, batch_size=32,
        scale_latents=(16, 8, 4), scale_blocks=(1, 1, 2),
    )  # fmt: skip
    models |= {
        "fashion_mnist-conditional": dataclasses.replace(
            scales, dataset="fashion_mnist", epochs=14, conditional=True, prior="flow"
        ),
        "fashion_mnist-hierarchical": dataclasses.replace(scales, dataset="fashion_mnist", epochs=20),
        "mnist-hierarchical": dataclasses.replace(scales, dataset="mnist", epochs=20, learning_rate=2e-3),
        "cifar10-hierarchical": dataclasses.replace(
            scales, dataset="cifar10", epochs=25, learning_rate=2e-3, weight_decay=0.0
        ),
    }
    return models
