"""The four things that studies of VAEs tell, judged by the full study's table."""

import pandas as pd

from vae_lib.findings import Finding, change, finding
from vae_lib.presets import LATENT_DIM, REAL, comparisons
from vae_lib.results import by_run

NAMES = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "sprites": "sprites"}
HIGGINS_BETA = 4.0  # of Higgins et al. 2017 on sprites; the best of six would flatter
_KNN, _PSNR, _RATE = "test_knn_accuracy", "test_psnr", "test_rate"


def key_findings(table: pd.DataFrame) -> list[Finding]:
    """Judge the claims.

    Args:
        table: A row per run and measure of the preset `full`, as `results.read_results` gives it.
    """
    runs = {name: by_run(table, configs) for name, configs in comparisons("full").items()}
    return [_easier(runs["data_set"]), _latents(runs["latent_size"]), _mirror(runs), _trade(runs)]


def _easier(runs: pd.DataFrame) -> Finding:
    grey, colour = (runs[runs["dataset"] == name] for name in REAL)
    return finding(
        "Fashion-MNIST is easier than CIFAR-10",
        [
            ("Fashion-MNIST to CIFAR-10:", change(grey, colour, "test_bits_per_dim"), 1, "bits/dim", 2),
            ("PSNR", change(grey, colour, _PSNR), -1, "dB", 1),
            ("10-NN accuracy of codes", change(grey, colour, _KNN), -1, "", 2),
        ],
    )


def _latents(runs: pd.DataFrame) -> Finding:
    low, high = runs["latent_dim"].min(), runs["latent_dim"].max()
    changes = []
    for name in REAL:
        cell = runs[runs["dataset"] == name].groupby("latent_dim")
        ends = cell.get_group(low), cell.get_group(high)
        changes.append((f"{NAMES[name]}, {low} to {high} latents: PSNR", change(*ends, _PSNR), 1, "dB", 1))
        changes.append(("rate", change(*ends, _RATE), 1, "nats", 1))
    return finding("larger latents reconstruct better and compress less", changes)


def _mirror(runs: dict[str, pd.DataFrame]) -> Finding:
    changes = []
    for name in REAL:
        cell = runs["data_set"][runs["data_set"]["dataset"] == name]
        chance = cell.assign(**{_KNN: cell["test_largest_class_share_of_test images"]})
        what = f"{NAMES[name]}, {LATENT_DIM} latents: 10-NN accuracy of codes, from chance"
        changes.append((what, change(chance, cell, _KNN), 1, "", 2))
    return finding("the latent space mirrors the data's structure", changes)


def _trade(runs: dict[str, pd.DataFrame]) -> Finding:
    changes = []
    for name in REAL:
        cell = runs["beta"][runs["beta"]["dataset"] == name].groupby("beta")
        one, most = cell.get_group(1.0), cell.get_group(max(cell.groups))
        changes.append(
            (f"{NAMES[name]}, beta 1 to {max(cell.groups):g}: PSNR", change(one, most, _PSNR), -1, "dB", 1)
        )
        changes.append(("10-NN accuracy of codes", change(one, most, _KNN), 1, "", 2))
    sprites = runs["disentanglement"].groupby("beta")
    pair = sprites.get_group(1.0), sprites.get_group(HIGGINS_BETA)
    changes.append((f"sprites, beta 1 to {HIGGINS_BETA:g}: MIG", change(*pair, "test_mig"), 1, "", 2))
    return finding("beta trades reconstruction for organisation", changes)
