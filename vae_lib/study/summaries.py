"""Summaries: what the notebook says of its figures, in sentences written from the tables behind them.

Tables of runs have a row per run, as `results.by_run` returns them; those of bits and accuracies, which the
notebook makes, have the columns that the function names.
"""

from collections.abc import Mapping

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


def summarize_training_length(runs: pd.DataFrame) -> str:
    """Say which latent size has the fewest bits after each length of training, and by how much."""
    lines = []
    for epochs, rows in runs.groupby("epochs"):
        bits = rows.groupby("latent_dim")["bits_per_dim_test"].mean()
        best, second = bits.nsmallest(2).index
        gap = compare_settings(rows, "latent_dim", second, best, "bits_per_dim_test")
        word = "epoch" if epochs == 1 else "epochs"
        noise = "" if gap.direction else ", within the noise of seeds"
        lines.append(
            f"After {epochs} {word} {best} latents are best, at {bits[best]:.3f} bits per dimension: "
            f"{gap.difference:+.3f} ± {gap.half_width:.3f} from {second}{noise}."
        )
    return " ".join(lines)


def summarize_beta(runs: pd.DataFrame) -> str:
    """Say at which beta the bound is best, and what becomes of rate, detail and classes along the sweep."""
    lines = []
    for name, rows in runs.groupby("data set", sort=False):
        mean = rows.groupby("beta").mean(numeric_only=True)
        low, high, best = mean.iloc[0], mean.iloc[-1], mean["bits_per_dim_test"].idxmin()
        other = mean["bits_per_dim_test"].drop(best).idxmin() if best == 1 else 1.0
        gap = compare_settings(rows, "beta", other, best, "bits_per_dim_test")
        apart = f" ({gap.difference:+.3f} ± {gap.half_width:.3f} bits from beta {other:g}, within the noise)"
        note = "" if gap.direction else apart
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
        f"MIG over all codes rises from {mig.mean()[low]:.2f} at beta {low:g} to {mig.mean()[high]:.2f} at "
        f"beta {high:g}, while {active[low]:.1f} active latents become {active[high]:.1f}. At beta "
        f"{widest:g} alone, seeds span {mig.min()[widest]:.2f} to {mig.max()[widest]:.2f}: one seed could "
        "support any claim."
    )


def summarize_total_correlation(runs: pd.DataFrame) -> str:
    """Say what the best weight of the total correlation does to MIG over all codes, and to what they tell."""
    mig = runs.groupby("tc_weight")["mig_z_mean"].mean()
    low, best = mig.index[0], mig.idxmax()
    told = runs.groupby("tc_weight")["dci_informativeness_z_mean"].mean()
    active = runs.groupby("tc_weight")["active_units_z_mean"].mean()
    return (
        f"At a weight of {best:g} MIG over all codes is {mig[best]:.2f} (without it, {mig[low]:.2f}), the "
        f"informativeness {told[best]:.2f} ({told[low]:.2f}), and {active[best]:.1f} latents are active "
        f"({active[low]:.1f})."
    )


def summarize_priors(runs: pd.DataFrame) -> str:
    """Say how near draws from each prior come to real images, on each data set."""
    columns = ["frechet_distance_sample_model", "frechet_distance_sample_mixture"]
    lines = []
    for name, rows in runs.groupby("data set", sort=False):
        means = rows.groupby("prior")[columns].mean()
        normal, flow = means.loc["normal"], means.loc["flow"]
        lines.append(
            f"On {name} the Fréchet distance of draws is {normal.iloc[0]:.1f} under N(0, I), "
            f"{flow.iloc[0]:.1f} with the learned flow, and {normal.iloc[1]:.1f} where z comes from a "
            "mixture fitted to the codes of the model with N(0, I)."
        )
    return " ".join(lines)


def summarize_labels(runs: pd.DataFrame, labelled: pd.DataFrame) -> str:
    """Say what telling the label does to the codes, and how often the class asked for is what comes.

    Args:
        runs: Of models with and without the label.
        labelled: Of conditional models with several priors.
    """
    means = runs.groupby("conditional")[["knn_accuracy_z_mean", "linear_probe_accuracy_z_mean"]].mean()
    (knn, probe), (knn_given, probe_given) = means.loc[False], means.loc[True]
    lines = [
        f"Given the label, 10-NN of codes falls from {knn:.0%} to {knn_given:.0%} and the linear probe "
        f"from {probe:.0%} to {probe_given:.0%}: z still tells much of the class."
    ]
    for name, rows in labelled.groupby("data set", sort=False):
        found = rows.groupby("prior")["classifier_accuracy_sample_model"].mean()
        own = f"{found['gaussian']:.0%} with a Gaussian of each class, {found['flow']:.0%} with the flow"
        mixture = rows.loc[rows["prior"] == "normal", "classifier_accuracy_sample_mixture"].mean()
        lines.append(
            f"On {name} the judge finds the class that was asked for in {found['normal']:.0%} of draws "
            f"under N(0, I), in {own}, and in {mixture:.0%} where a mixture of each class is fitted to the "
            "codes of the model with N(0, I)."
        )
    return " ".join(lines)


def summarize_families(channels: pd.DataFrame, family: pd.DataFrame) -> str:
    """Say what channels in turn, and latents on several scales, do to bits and draws.

    Args:
        channels: Runs whose channels are independent or in turn.
        family: Runs of flat and hierarchical networks, trained for equal time.
    """
    scores = ["bits_per_dim_test", "frechet_distance_sample_model", "frechet_distance_sample_mixture"]
    means = channels.groupby("channels")[scores].mean()
    alone, turn = means.loc["independent"], means.loc["in_turn"]
    lines = [
        f"Channels in turn take the bits of {channels['data set'].iloc[0]} from {alone.iloc[0]:.2f} to "
        f"{turn.iloc[0]:.2f}, and the Fréchet distance of draws from {alone.iloc[1]:.1f} to "
        f"{turn.iloc[1]:.1f}."
    ]
    means = family.groupby(["data set", "network"], sort=False)[scores].mean()
    flat, scales = (means.xs(network, level="network") for network in ("conv", "hierarchical"))
    bits = [
        f"of {name} from {flat.iloc[i, 0]:.2f} to {scales.iloc[i, 0]:.2f}"
        for i, name in enumerate(flat.index)
    ]
    nearest = zip(flat.iloc[:, 1:].min(axis=1), scales.iloc[:, 1:].min(axis=1), strict=True)
    draws = [f"from {a:.1f} to {b:.1f}" for a, b in nearest]
    lines.append(
        f"In about equal time, latents on several scales take the bits per dimension {', '.join(bits)}; the "
        f"Fréchet distance of the nearest draws, from the own prior or the mixture, goes {', '.join(draws)}."
    )
    return " ".join(lines)


def summarize_novelty(comparisons: Mapping) -> str:
    """Say of each model whether the first set outside is likelier than its own, and what tells them apart.

    Args:
        comparisons: Words for a model -> what `evaluation.ood.compare` returned.
    """
    lines = []
    for model, found in comparisons.items():
        own, outside = list(found.sources)[:2]
        cost = found.images.groupby("set")["cost"].mean()
        auroc = found.table[found.table["outside"] == outside].set_index("score")["auroc"]
        less = f", and less the size of a PNG {auroc['complexity']:.2f}" if "complexity" in auroc else ""
        likelier = "likelier" if cost[outside] < cost[own] else "less likely"
        lines.append(
            f"Under the model with {model}, images of {outside} take {cost[outside]:.2f} {found.unit} and "
            f"those of {own} {cost[own]:.2f}: what it never saw is {likelier}. −ELBO tells the two apart "
            f"with an AUROC of {auroc['elbo']:.2f}{less}."
        )
    return " ".join(lines)
