"""Summaries: what the notebook says of its figures, in sentences written from the tables behind them.

Tables of runs have a row per run, as `results.by_run` returns them; those of bits and accuracies, which the
notebook makes, have the columns that the function names.
"""

import pandas as pd

from vae_lib.study.comparisons import compare_settings


def summarize_bits(bits: pd.DataFrame) -> str:
    """Compare what a dimension costs under the VAE and under a lossless coder."""
    lines = []
    for name, rows in bits.groupby("data set", sort=False):
        found = rows.groupby("model")["bits"].mean()
        vae, webp = found["VAE, shown"], found["WebP"]
        study = f" ({found['VAE, study']:.2f} in the study)" if "VAE, study" in found else ""
        lines.append(
            f"A dimension of {name} costs {vae:.2f} bits under the model shown{study}, "
            f"{abs(webp - vae):.2f} {'fewer' if vae < webp else 'more'} than in lossless WebP."
        )
    return " ".join(lines)


def summarize_codes(accuracy: pd.DataFrame) -> str:
    """Say how often neighbours among codes name the class, against raw pixels and a PCA."""
    lines = []
    for name, rows in accuracy["10-NN"].groupby(level=0, sort=False):
        found = rows.droplevel(0)
        codes = found["z_mean of the VAE"]
        gains = [100 * (codes - found[view]) for view in ("raw pixels", "PCA, 32 axes")]
        lines.append(
            f"on {name}, neighbours among codes name the class of {codes:.0%} of images, {gains[0]:+.0f} "
            f"points against raw pixels and {gains[1]:+.0f} against PCA"
        )
    return f"{'; '.join(lines)}.".replace("on", "On", 1)


def summarize_latent_size(runs: pd.DataFrame) -> str:
    """Say where bits per dimension are lowest, and what they are at both ends."""
    lines = []
    for name, rows in runs.groupby("data set", sort=False):
        bits = rows.groupby("latent_dim")["bits_per_dim_test"].mean()
        first, best, last = bits.index[0], bits.idxmin(), bits.index[-1]
        end = "" if best == last else f"; at {last} they are {bits[last]:.2f}"
        lines.append(
            f"On {name} bits per dimension fall from {bits[first]:.2f} at {first} latents to "
            f"{bits[best]:.2f} at {best}{end}."
        )
    return " ".join(lines)


def summarize_beta(runs: pd.DataFrame) -> str:
    """Say at which beta the bound is best, and what becomes of rate, detail and classes along the sweep."""
    lines = []
    for name, rows in runs.groupby("data set", sort=False):
        mean = rows.groupby("beta").mean(numeric_only=True)
        low, high, best = mean.iloc[0], mean.iloc[-1], mean["bits_per_dim_test"].idxmin()
        close = compare_settings(rows, "beta", 1.0, best, "bits_per_dim_test")
        apart = f" ({close.difference:+.3f} ± {close.half_width:.3f} bits from beta 1, within the noise)"
        note = "" if best == 1 or close.direction else apart
        lines.append(
            f"On {name} the bound is best at beta {best:g}{note}. From beta {low.name:g} to {high.name:g} "
            f"the rate goes from {low.rate_test:.0f} to {high.rate_test:.0f} nats, reconstructions from "
            f"{low.psnr_test:.1f} to {high.psnr_test:.1f} dB, and neighbours that name the class from "
            f"{low.knn_accuracy_z_mean:.0%} to {high.knn_accuracy_z_mean:.0%}."
        )
    return " ".join(lines)


def summarize_disentanglement(runs: pd.DataFrame) -> str:
    """Say what becomes of MIG and of active latents, and how far seeds of one beta lie apart."""
    by_beta = runs.groupby("beta")
    mig, active = by_beta["mig_z_mean"], by_beta["active_units_z_mean"].mean()
    low, high, widest = active.index[0], mig.mean().idxmax(), (mig.max() - mig.min()).idxmax()
    return (
        f"MIG rises from {mig.mean()[low]:.2f} at beta {low:g} to {mig.mean()[high]:.2f} at beta {high:g}, "
        f"while {active[low]:.1f} active latents become {active[high]:.1f}. At beta {widest:g} alone, seeds "
        f"span {mig.min()[widest]:.2f} to {mig.max()[widest]:.2f}: one seed could support any claim."
    )


def summarize_priors(runs: pd.DataFrame) -> str:
    """Say how near draws from each prior come to real images."""
    columns = ["frechet_distance_sample_model", "frechet_distance_sample_mixture"]
    means = runs.groupby("prior")[columns].mean()
    normal, flow = means.loc["normal"], means.loc["flow"]
    return (
        f"On {runs['data set'].iloc[0]} the Fréchet distance of draws falls from {normal.iloc[0]:.1f} under "
        f"N(0, I) to {flow.iloc[0]:.1f} with the learned flow, and to {normal.iloc[1]:.1f} where z comes "
        "from a mixture fitted to the codes of the model with N(0, I)."
    )


def summarize_labels(runs: pd.DataFrame) -> str:
    """Say what telling the label does to the codes, and how often the class asked for is what comes."""
    means = runs.groupby("conditional")[["knn_accuracy_z_mean", "linear_probe_accuracy_z_mean"]].mean()
    (knn, probe), (knn_given, probe_given) = means.loc[False], means.loc[True]
    judged = runs[runs["conditional"]]["classifier_accuracy_mean_model"].mean()
    return (
        f"Given the label, 10-NN of codes falls from {knn:.0%} to {knn_given:.0%} and the linear probe "
        f"from {probe:.0%} to {probe_given:.0%}; the classifier finds the class that was asked for in "
        f"{judged:.0%} of decoder means."
    )
