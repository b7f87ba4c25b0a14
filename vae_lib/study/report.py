"""What `study` writes into a folder: the tidy table, intervals, differences, findings, and figures."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vae_lib.config import TrainConfig
from vae_lib.data.dataset import title_of
from vae_lib.plots.curves import metric_panels, plot_rate_distortion
from vae_lib.plots.save import save_figure
from vae_lib.study.comparisons import cell_means, compare_adjacent
from vae_lib.study.findings import key_findings, markdown_table
from vae_lib.study.grids import all_configs, unique_configs
from vae_lib.study.results import by_run
from vae_lib.utils.files import safe_name, write_text

SCORES = (  # columns of `by_run` that are reported
    *("bits_per_dim_test", "elbo_test", "distortion_test", "rate_test", "psnr_test"),
    *("active_units_z_mean", "linear_probe_accuracy_z_mean", "knn_accuracy_z_mean"),
    *("classifier_accuracy_reconstruction", "frechet_distance_sample_model", "frechet_distance_mean_model"),
    *("mig_z_mean", "sap_z_mean", "dci_disentanglement_z_mean", "factor_vae_score_z_mean"),
)
SETTINGS = {  # what each comparison varies
    "data_set": "dataset",
    "latent_size": "latent_dim",
    "beta": "beta",
    "disentanglement": "beta",
    "likelihood": "likelihood",
    "prior": "prior",
    "conditional": "conditional",
}
INCOMPARABLE = {  # of another kind on both sides, so that no difference is taken: unit, images, labels given
    "data_set": (
        *("elbo_test", "distortion_test"),
        *("frechet_distance_sample_model", "frechet_distance_mean_model"),
    ),
    "likelihood": ("elbo_test", "distortion_test"),
    "conditional": (
        *("elbo_test", "bits_per_dim_test", "distortion_test"),  # of p(x|y), not of p(x)
        *("linear_probe_accuracy_z_mean", "knn_accuracy_z_mean", "classifier_accuracy_reconstruction"),
    ),
}
_SWEEP = (
    *("bits_per_dim_test", "rate_test", "psnr_test", "active_units_z_mean"),
    *("linear_probe_accuracy_z_mean", "frechet_distance_mean_model"),
)
PANELS = {
    "latent_size": _SWEEP,
    "beta": _SWEEP,
    "disentanglement": (
        *("mig_z_mean", "sap_z_mean", "dci_disentanglement_z_mean", "factor_vae_score_z_mean"),
        *("bits_per_dim_test", "active_units_z_mean"),
    ),
}


def write_report(table: pd.DataFrame, comparisons: Mapping[str, list[TrainConfig]], out: Path) -> str:
    """Write `results.csv`, `intervals.csv`, `differences.csv` and the figures of a study.

    Of the whole preset `full`, also `findings.md`: what is said of VAEs, judged by these runs.

    Args:
        table: A row per run and score, as `run_study` returns it.
        comparisons: The configs that are compared, or a part of them, by name.
        out: The folder.

    Returns:
        What was written, and what failed, in lines of text.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "results.csv", table.to_csv(index=False))
    lost = table[table["status"] != "finished"]
    lines = [f"{row.status}: {row.dataset}, seed {row.seed}: {row.error}" for row in lost.itertuples()]
    if len(lost) == len(table):
        return "\n".join([*lines, "no run has finished"])
    runs = by_run(table)
    chosen = {name: by_run(table, configs) for name, configs in comparisons.items()}
    chosen = {name: cells for name, cells in chosen.items() if len(cells)}
    intervals, differences = [], []
    for name, cells in chosen.items():
        setting, scores = SETTINGS[name], [score for score in SCORES if score in runs]
        within = ["dataset", "source", *([setting] if setting != "dataset" else [])]
        intervals.append(cell_means(cells, within, scores).assign(comparison=name))
        group = "dataset" if setting != "dataset" else "beta"
        comparable = [score for score in scores if score not in INCOMPARABLE.get(name, ())]
        differences.append(compare_adjacent(cells, setting, comparable, group).assign(comparison=name))
        _draw(name, cells, out)
    write_text(out / "intervals.csv", pd.concat(intervals).to_csv(index=False))
    write_text(out / "differences.csv", pd.concat(differences).to_csv(index=False))
    real, whole = not runs["source"].str.startswith("stand-in").any(), set(all_configs("full"))
    if real and len(runs) == len(whole) and {*unique_configs(comparisons)} == whole:
        findings = markdown_table(key_findings(table))
        write_text(out / "findings.md", f"{findings}\n")
        lines.append(f"\n{findings}\n")
    lines += [_cost(name, members["seconds"]) for name, members in runs.groupby("dataset")]
    sources = "; ".join(sorted(runs["source"].unique()))
    lines.append(f"{len(runs)} runs of {sources}: tables and figures in {out}")
    return "\n".join(lines)


def _cost(dataset: str, seconds: pd.Series) -> str:
    """Return what the runs of a data set took to train, as one line."""
    hours = f"{seconds.sum() / 3600:.2f} h of training on one thread"
    return f"{dataset}: {len(seconds)} runs, {hours}, {seconds.median():.0f} s for the median run"


def _draw(name: str, runs: pd.DataFrame, out: Path) -> None:
    """Draw the panels of a comparison, and rate and distortion where latents or beta are swept."""
    seeds, sources = sorted(map(int, runs["seed"].unique())), "; ".join(runs["source"].unique())
    options = {"directory": out, "metadata": {"source": sources, "seeds": seeds}}
    setting, panels = SETTINGS[name], [score for score in PANELS.get(name, ()) if score in runs]
    if panels:
        hue = "data set" if len(set(runs["dataset"])) > 1 else None
        title = f"{name.replace('_', ' ')}: test images of {sources}; {len(seeds)} seeds"
        save_figure(metric_panels(runs, setting, panels, hue=hue, title=title), name, **options)
    if setting in ("beta", "latent_dim"):
        for dataset, members in runs.groupby("dataset"):
            axes = {"x": "rate_test", "y": "distortion_test", "by": setting}
            title = f"{title_of(dataset)}: {members['source'].iloc[0]}"
            figure = plot_rate_distortion(members, **axes, title=title).figure
            save_figure(figure, f"{name}_rate_distortion_{safe_name(Path(dataset))}", **options)
