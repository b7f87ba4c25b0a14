"""What `study` writes into a folder: the tidy table, intervals, differences, findings, and figures."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vae_lib.data.dataset import title_of
from vae_lib.plots.curves import metric_panels, plot_rate_distortion
from vae_lib.plots.save import save_figure
from vae_lib.study.comparisons import cell_means, compare_adjacent
from vae_lib.study.findings import key_findings, markdown_table
from vae_lib.study.grids import Comparison, all_configs, unique_configs
from vae_lib.study.results import by_run
from vae_lib.utils.files import safe_name, write_text

_NATS = ("elbo_test", "distortion_test")
_CLASSES = ("linear_probe_accuracy_z_mean", "knn_accuracy_z_mean", "classifier_accuracy_reconstruction")
_FRECHET = tuple(f"frechet_distance_{of}" for of in ("sample_model", "mean_model", "sample_mixture"))
_OBEYED = tuple(f"classifier_accuracy_{of}_{z}" for z in ("model", "mixture") for of in ("mean", "sample"))
_DIVERSITY = ("within_class_diversity_sample_model", "within_class_diversity_sample_mixture")
_DCI = ("dci_disentanglement_z_mean", "dci_informativeness_z_mean")
_FACTORS = ("mig_z_mean", "mig_active_z_mean", "sap_z_mean", *_DCI, "factor_vae_score_z_mean")
# Columns of `by_run` that are reported.
SCORES = (
    *("bits_per_dim_test", *_NATS, "rate_test", "psnr_test", "active_units_z_mean"),
    *(*_CLASSES, *_FRECHET, *_OBEYED, *_DIVERSITY, *_FACTORS),
)
INCOMPARABLE = {  # of another kind on both sides, so that no difference is taken: unit, images, labels given
    "data_set": (*_NATS, *_FRECHET),
    "likelihood": _NATS,
    "conditional": ("bits_per_dim_test", *_NATS, *_CLASSES),  # bounds on p(x|y), not on p(x)
}
_SWEEP = ["bits_per_dim_test", "rate_test", "psnr_test", "active_units_z_mean"]
_SWEEP += ["linear_probe_accuracy_z_mean", "frechet_distance_mean_model"]
PANELS = {
    **dict.fromkeys(("latent_size", "beta"), _SWEEP),
    "disentanglement": (*_FACTORS, "bits_per_dim_test", "active_units_z_mean"),
}


def write_report(table: pd.DataFrame, comparisons: Mapping[str, Comparison], out: Path) -> str:
    """Write `results.csv`, `intervals.csv`, `differences.csv` and the figures of a study.

    Of the whole preset `full`, also `findings.md`: what is said of VAEs, judged by these runs.

    Args:
        table: A row per run and score, as `run_study` returns it.
        comparisons: What is compared, or a part of it, by name.
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
    runs, intervals, differences = by_run(table), [], []
    scores = [score for score in SCORES if score in runs]
    for name, comparison in comparisons.items():
        setting, within = comparison.setting, comparison.within
        cells = by_run(table, comparison.configs)
        if cells.empty:
            continue
        settings = list(dict.fromkeys(("dataset", "source", within, setting)))
        intervals.append(cell_means(cells, settings, scores).assign(comparison=name))
        comparable = [score for score in scores if score not in INCOMPARABLE.get(name, ())]
        differences.append(compare_adjacent(cells, setting, comparable, within).assign(comparison=name))
        _draw(name, comparison, cells, out)
    write_text(out / "intervals.csv", pd.concat(intervals).to_csv(index=False))
    write_text(out / "differences.csv", pd.concat(differences).to_csv(index=False))
    real, whole = not runs["source"].str.startswith("stand-in").any(), set(all_configs("full"))
    if real and len(runs) == len(whole) and {*unique_configs(comparisons)} == whole:
        findings = markdown_table(key_findings(table))
        write_text(out / "findings.md", f"{findings}\n")
        lines.append(f"\n{findings}\n")
    for name, seconds in runs.groupby("dataset")["seconds"]:
        hours = f"{seconds.sum() / 3600:.2f} h of training on one thread"
        lines.append(f"{name}: {len(seconds)} runs, {hours}, {seconds.median():.0f} s for the median run")
    sources = "; ".join(sorted(runs["source"].unique()))
    lines.append(f"{len(runs)} runs of {sources}: tables and figures in {out}")
    return "\n".join(lines)


def _draw(name: str, comparison: Comparison, runs: pd.DataFrame, out: Path) -> None:
    """Draw the panels of a comparison, and rate and distortion where latents or beta are swept."""
    seeds, sources = sorted(map(int, runs["seed"].unique())), "; ".join(runs["source"].unique())
    options = {"directory": out, "metadata": {"source": sources, "seeds": seeds}}
    setting, within = comparison.setting, comparison.within
    if panels := [score for score in PANELS.get(name, ()) if score in runs]:
        hue = next((column for column in ("data set", within) if len(set(runs[column])) > 1), None)
        title = f"{name.replace('_', ' ')}: test images of {sources}; {len(seeds)} seeds"
        save_figure(metric_panels(runs, setting, panels, hue=hue, title=title), name, **options)
    if setting in ("beta", "latent_dim"):
        keys = list(dict.fromkeys(("dataset", within)))
        for (dataset, *others), members in runs.groupby(keys):
            kept_apart = "".join(f", {within} {value}" for value in others)
            title = f"{title_of(dataset)}{kept_apart}: {members['source'].iloc[0]}"
            ax = plot_rate_distortion(members, x="rate_test", y="distortion_test", by=setting, title=title)
            parts = (name, "rate_distortion", safe_name(Path(dataset)), *map(str, others))
            save_figure(ax.figure, "_".join(parts), **options)
