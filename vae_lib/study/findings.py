"""Findings: four things that are often said of VAEs, judged by the full study's table."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from vae_lib.data.dataset import title_of
from vae_lib.metrics.registry import COLUMNS, METRICS
from vae_lib.study.comparisons import Difference, compare_cells, compare_settings
from vae_lib.study.grids import LATENT_DIM, REAL, preset_comparisons
from vae_lib.study.results import runs_by_comparison

HIGGINS_BETA = 4.0  # of Higgins et al. 2017 on sprites; the best of six would flatter
_BITS, _KNN, _PSNR, _RATE = "bits_per_dim_test", "knn_accuracy_z_mean", "psnr_test", "rate_test"
_NAMES = {_BITS: "", _KNN: "10-NN accuracy of codes", _PSNR: "PSNR", _RATE: "rate"}


@dataclass(frozen=True)
class Evidence:
    """A difference between two cells that a claim is judged by."""

    what: str  # is compared, in words
    difference: Difference
    score: str  # the column that was compared, which gives unit and digits
    sign: int  # 1 or -1, as the claim says; 0 for a difference that is reported and not judged

    def as_text(self) -> str:
        """Return what was measured, as one line."""
        metric = METRICS[COLUMNS[self.score][0]]
        unit = "" if metric.unit == "share" else metric.unit
        return f"{self.what} {self.difference.as_text(unit, metric.digits)}"


@dataclass(frozen=True)
class Finding:
    """A claim about VAEs as it is often made, whether these runs bear it out, and what was measured."""

    claim: str
    evidence: tuple[Evidence, ...]

    @property
    def verdict(self) -> str:
        """One of four words.

        "confirmed" where every judged difference has the sign that the claim says and exceeds the noise of
        seeds, "contradicted" where all have the other sign, "unresolved" where none exceeds the noise, else
        "in part".
        """
        agreed = {item.difference.direction * item.sign for item in self.evidence if item.sign}
        words = {1: "confirmed", -1: "contradicted", 0: "unresolved"}
        return words[agreed.pop()] if len(agreed) == 1 else "in part"


def markdown_table(findings: Iterable[Finding]) -> str:
    """Return a Markdown table, a row per claim."""
    lines = ["| what is said of VAEs | verdict | measured |", "|---|---|---|"]
    for one in findings:
        measured = "<br>".join(item.as_text() for item in one.evidence)
        lines.append(f"| {one.claim} | {one.verdict} | {measured} |")
    return "\n".join(lines)


def key_findings(table: pd.DataFrame) -> list[Finding]:
    """Judge the claims.

    Args:
        table: A row per run and score of the preset `full`, as `results.read_results` returns it.
    """
    runs = runs_by_comparison(table, preset_comparisons("full"))
    claims = {
        "Fashion-MNIST is easier than CIFAR-10": _easier(runs["data_set"]),
        "larger latents reconstruct better and compress less": _latents(runs["latent_size"]),
        "the latent space mirrors the data's structure": _mirror(runs["data_set"]),
        "beta trades reconstruction for organisation": _trade(runs["beta"], runs["disentanglement"]),
    }
    return [Finding(claim, tuple(evidence)) for claim, evidence in claims.items()]


def _easier(runs: pd.DataFrame) -> Iterable[Evidence]:
    for what, score, sign in (
        ("Fashion-MNIST to CIFAR-10:", _BITS, 1),
        ("PSNR of reconstructions:", _PSNR, -1),
        ("10-NN accuracy of codes:", _KNN, -1),
    ):
        yield Evidence(what, compare_settings(runs, "dataset", *REAL, score), score, sign)


def _latents(runs: pd.DataFrame) -> Iterable[Evidence]:
    """Yield differences over the whole sweep, and over its last step, which the ends would hide."""
    sizes = sorted(runs["latent_dim"].unique())
    for name, cells in runs.groupby("dataset", sort=False):
        for ends, score, sign in (
            ((sizes[0], sizes[-1]), _PSNR, 1),
            ((sizes[0], sizes[-1]), _RATE, 1),
            ((sizes[0], sizes[-1]), _BITS, 0),  # the claim is silent on it
            (tuple(sizes[-2:]), _PSNR, 1),
        ):
            what = f"{title_of(name)}, {ends[0]} to {ends[1]} latents: {_NAMES[score]}".rstrip()
            yield Evidence(what, compare_settings(cells, "latent_dim", *ends, score), score, sign)


def _mirror(runs: pd.DataFrame) -> Iterable[Evidence]:
    for name in REAL:
        cell = runs[runs["dataset"] == name]
        chance = cell.assign(**{_KNN: cell["largest_class_share_test"]})
        what = f"{title_of(name)}, {LATENT_DIM} latents: {_NAMES[_KNN]}, from chance"
        yield Evidence(what, compare_cells(chance, cell, _KNN), _KNN, 1)


def _trade(runs: pd.DataFrame, sprites: pd.DataFrame) -> Iterable[Evidence]:
    top = runs["beta"].max()
    for name in REAL:
        cells = runs[runs["dataset"] == name]
        for score, sign in ((_PSNR, -1), (_KNN, 1)):
            what = f"{title_of(name)}, beta 1 to {top:g}: {_NAMES[score]}"
            yield Evidence(what, compare_settings(cells, "beta", 1.0, top, score), score, sign)
    mig = "mig_z_mean"
    what = f"sprites, beta 1 to {HIGGINS_BETA:g} (that of Higgins et al. 2017): MIG"
    yield Evidence(what, compare_settings(sprites, "beta", 1.0, HIGGINS_BETA, mig), mig, 1)
