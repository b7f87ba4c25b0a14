"""What `study` leaves in a folder: the tidy table, intervals, differences, findings, and figures."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vae_lib.config import TrainConfig
from vae_lib.plots.curves import metric_panels, plot_rate_distortion
from vae_lib.plots.save import save_figure
from vae_lib.study.comparisons import as_markdown, cell_means, compare_adjacent
from vae_lib.study.findings import key_findings
from vae_lib.study.grids import all_configs, unique_configs
from vae_lib.study.results import by_run
from vae_lib.utils.files import safe_name, write_text

# Column of `by_run` -> its label in figures and tables.
MEASURES = {
    "test_bits_per_dim": "bits per dimension",
    "test_elbo": "ELBO (nats per image)",
    "test_distortion": "distortion (nats per image)",
    "test_rate": "rate (nats per image)",
    "test_psnr": "PSNR (dB)",
    "test_active_units": "active units (latents)",
    "test_linear_probe_accuracy": "linear probe of z_mean (share)",
    "test_knn_accuracy": "10-NN of z_mean (share)",
    "test_classifier_accuracy_of_reconstructions": "class found in reconstructions (share)",
    "test_frechet_distance_of_draws from p(x|z), own prior": "Fréchet distance of draws",
    "test_frechet_distance_of_decoder means, own prior": "Fréchet distance of means",
    "test_mig": "mutual information gap",
    "test_sap": "separated attribute predictability",
    "test_dci_disentanglement": "DCI disentanglement",
    "test_factor_vae_score": "FactorVAE score",
}
_AXES = {
    "data_set": "dataset",
    "latent_size": "latent_dim",
    "beta": "beta",
    "disentanglement": "beta",
    "likelihood": "likelihood",
    "prior": "prior",
    "conditional": "conditional",
}
# Not of one kind on both sides, so that no difference is taken: another unit, other images, labels told.
_INCOMPARABLE = {
    "data_set": (
        *("test_elbo", "test_distortion"),
        "test_frechet_distance_of_draws from p(x|z), own prior",
        "test_frechet_distance_of_decoder means, own prior",
    ),
    "likelihood": ("test_elbo", "test_distortion"),
    "conditional": (
        *("test_elbo", "test_bits_per_dim", "test_distortion"),  # of p(x|y), not of p(x)
        *("test_linear_probe_accuracy", "test_knn_accuracy", "test_classifier_accuracy_of_reconstructions"),
    ),
}
PANELS = {
    "latent_size": (
        *("test_bits_per_dim", "test_rate", "test_psnr", "test_active_units"),
        *("test_linear_probe_accuracy", "test_frechet_distance_of_decoder means, own prior"),
    ),
    "beta": (
        *("test_bits_per_dim", "test_rate", "test_psnr", "test_active_units"),
        *("test_linear_probe_accuracy", "test_frechet_distance_of_decoder means, own prior"),
    ),
    "disentanglement": (
        *("test_mig", "test_sap", "test_dci_disentanglement", "test_factor_vae_score"),
        *("test_bits_per_dim", "test_active_units"),
    ),
}


def write_report(table: pd.DataFrame, studied: Mapping[str, list[TrainConfig]], out: Path) -> str:
    """Write `results.csv`, `intervals.csv`, `differences.csv` and the figures of a study.

    Of the whole preset `full`, also `findings.md`: what is told of VAEs, judged by these runs.

    Args:
        table: A row per run and measure, as `run_study` gives it.
        studied: The comparisons that it holds, or a part of them, by name.
        out: The folder.

    Returns:
        What was written, and what failed, in lines of text.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "results.csv", table.to_csv(index=False))
    lost = table[table["status"] != "finished"]
    lines = [f"{row.status}: {row.dataset}, seed {row.seed}: {row.error}" for row in lost.itertuples()]
    intervals, differences = [], []
    if not (table["status"] == "finished").any():
        return "\n".join([*lines, "no run has finished"])
    runs = by_run(table)
    measures = [name for name in MEASURES if name in runs]
    for name, configs in studied.items():
        chosen = by_run(table, configs)
        if chosen.empty:
            continue
        settings = ["dataset", "source", *([_AXES[name]] if _AXES[name] != "dataset" else [])]
        intervals.append(cell_means(chosen, settings, measures).assign(comparison=name))
        within = "dataset" if _AXES[name] != "dataset" else "beta"
        comparable = [measure for measure in measures if measure not in _INCOMPARABLE.get(name, ())]
        differences.append(compare_adjacent(chosen, _AXES[name], comparable, within).assign(comparison=name))
        _draw(name, chosen, out)
    write_text(out / "intervals.csv", pd.concat(intervals).to_csv(index=False))
    write_text(out / "differences.csv", pd.concat(differences).to_csv(index=False))
    real = not runs["source"].str.startswith("stand-in").any()
    whole = set(all_configs("full"))
    if real and len(runs) == len(whole) and {*unique_configs(studied)} == whole:
        found = as_markdown(key_findings(table))
        write_text(out / "findings.md", f"{found}\n")
        lines.append(f"\n{found}\n")
    lines += [_cost(name, members["seconds"]) for name, members in runs.groupby("dataset")]
    sources = "; ".join(sorted(runs["source"].unique()))
    lines.append(f"{len(runs)} runs of {sources}: tables and figures in {out}")
    return "\n".join(lines)


def _cost(dataset: str, seconds: pd.Series) -> str:
    """Return what the runs of a data set took to train, as one line."""
    hours = f"{seconds.sum() / 3600:.2f} h of training on one thread"
    return f"{dataset}: {len(seconds)} runs, {hours}, {seconds.median():.0f} s for the median run"


def _draw(name: str, runs: pd.DataFrame, out: Path) -> None:
    seeds, sources = sorted(map(int, runs["seed"].unique())), "; ".join(runs["source"].unique())
    facts = {"source": sources, "seeds": seeds}
    panels = {measure: MEASURES[measure] for measure in PANELS.get(name, ()) if measure in runs}
    if panels:
        hue = "dataset" if len(set(runs["dataset"])) > 1 else None
        title = f"{name.replace('_', ' ')}: test images of {sources}; {len(seeds)} seeds"
        figure = metric_panels(runs, _AXES[name], panels, hue=hue, title=title)
        save_figure(figure, name, directory=out, metadata=facts)
    if _AXES[name] in ("beta", "latent_dim"):
        for dataset, members in runs.groupby("dataset"):
            points = {"x": "test_rate", "y": "test_distortion", "by": _AXES[name]}
            data = safe_name(Path(dataset))  # a folder's path is none of a figure's
            ax = plot_rate_distortion(members, **points, title=f"{data}: {members['source'].iloc[0]}")
            save_figure(ax.figure, f"{name}_rate_distortion_{data}", directory=out, metadata=facts)
