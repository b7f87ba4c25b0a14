"""Which scores tell the images that a model was trained on from others: AUROCs, with intervals.

The likelihood alone does not: under a model of Fashion-MNIST the simpler images of MNIST are likelier
(Nalisnick et al. 2019, arXiv:1810.09136). So it stands first, and the scores that were proposed in its place
after it. All scores are fixed beforehand: none is fitted to, or chosen on, the images outside.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

from vae_lib.data.dataset import ImageDataset, fixed_permutation, title_of
from vae_lib.data.download import UnavailableError
from vae_lib.data.image_list import load_image_list
from vae_lib.evaluation.baselines import encode as encoded
from vae_lib.evaluation.image_scores import cost, elbos, has_bits, likeliest_labels
from vae_lib.evaluation.report import write_table
from vae_lib.metrics import novelty
from vae_lib.metrics.elbo import iwae
from vae_lib.metrics.intervals import mean_interval
from vae_lib.metrics.reconstruction import mse_of_each
from vae_lib.models.vae import NOISE_SEED
from vae_lib.plots.novelty import plot_novelty
from vae_lib.plots.save import save_figure
from vae_lib.training.run import Run
from vae_lib.utils.errors import InputError

N_CODES = 5000  # training images behind the Mahalanobis distance
BLUR = 1.0  # pixels, the standard deviation


def _constant(x, rng):
    """One grey level or colour an image: nothing is simpler, and nothing less like the data."""
    return np.broadcast_to(rng.integers(0, 256, (len(x), 1, 1, x.shape[3]), dtype="uint8"), x.shape)


CHANGES: Mapping[str, Callable] = {  # of the run's own test images
    "constant": _constant,
    "noise": lambda x, rng: rng.integers(0, 256, x.shape, dtype="uint8"),
    "hflip": lambda x, rng: x[:, :, ::-1],
    "vflip": lambda x, rng: x[:, ::-1],
    "blur": lambda x, rng: np.rint(gaussian_filter(x.astype("float32"), (0, BLUR, BLUR, 0))).astype("uint8"),
}
AGAINST = ("mnist", "fashion_mnist", "digits", *CHANGES)  # by default, without the run's own set
SET_TITLES = {
    "constant": "constant images",
    "noise": "uniform noise",
    "hflip": "flipped left to right",
    "vflip": "flipped upside down",
    "blur": "blurred",
}
TITLES = {
    "elbo": "−ELBO",
    "iwae": "−IWAE",
    "typicality": "typicality",
    "complexity": "−ELBO less PNG",
    "png": "PNG alone",
    "mse": "reconstruction error",
    "mahalanobis": "Mahalanobis, codes",
}
MEANINGS = {
    "elbo": "-ELBO: less likely is outside (the baseline that fails)",
    "iwae": "-IWAE: the same with a tighter bound",
    "typicality": "distance of the ELBO from its mean over validation images (arXiv:1906.02994)",
    "complexity": "-ELBO in bits less the size of a PNG in bits (arXiv:1909.11480)",
    "png": "the size of a PNG alone, without a model: below 0.5 the images outside are the simpler ones",
    "mse": "squared error of the reconstruction",
    "mahalanobis": "Mahalanobis distance of z_mean from the codes of training images",
    "scales": "ELBO less the one whose scales finer than that named are from the prior (arXiv:2102.08248)",
}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How scores of novelty compare.

    Attributes:
        runs: Names of the runs.
        table: A row for each set outside and score: `outside`, `score`, `auroc`, `half_width` of its 95 %
            interval, what that is `over`, images or seeds, `n_inside`, `n_outside`.
        images: A row for each run and image: `run`, `set`, `cost`, the bound in the unit, and each score.
        sources: Set -> where its images came from, and how they were converted; that of the run's own first.
        unit: Of `cost`.
        left_out: Score or set -> why it is left out.
    """

    runs: list[str]
    table: pd.DataFrame
    images: pd.DataFrame
    sources: dict[str, str]
    unit: str
    left_out: dict[str, str]


def compare(
    runs: Run | Sequence[Run],
    data: ImageDataset,
    against: Sequence[str] | None = None,
    n_images: int = 2000,
    iwae_k: int = 5,
    data_dir: str = "data",
    skip_bad: bool = False,
    seed: int = 0,
) -> Comparison:
    """Score a run's test images and others, and measure how well each score tells them apart.

    Args:
        runs: A finished run, whose intervals are over images (DeLong); or several that differ in seed alone,
            whose intervals are over seeds (Student's t).
        data: The images they were trained on.
        against: Other images: names or paths as of `load_image_list`, or `constant`, `noise`, `hflip`,
            `vflip`, `blur`: changes of test images that are not among those inside. None takes all of these
            and `mnist`, `fashion_mnist` and `digits`, as far as they can be had.
        n_images: Images of each set, at most: a fixed random choice; changed ones are of others than those
            inside.
        iwae_k: Samples of the importance-weighted bound; 0 leaves it out.
        data_dir: Where data sets are looked for first.
        skip_bad: Leave out the files of a folder that cannot be read.
        seed: Of noise and constant images.

    Raises:
        InputError: If runs differ in more than their seed, the data is not theirs, or a set cannot be used.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    data = _check(runs, data, n_images, iwae_k)
    sets, sources, left_out = _sets(runs[0], data, against, n_images, data_dir, skip_bad, seed)
    frames, sizes = [], {name: _png_bits(x) for name, x in sets.items()}
    for run in runs:
        vae = run.model()
        score = _scorer(vae, data, n_images, iwae_k)
        for name, x in sets.items():
            with threadpool_limits(1):
                scores = score(x, sizes[name])
            frames.append(pd.DataFrame({"run": run.name, "set": name, **scores}))
    images = pd.concat(frames, ignore_index=True)
    if not has_bits(vae):
        left_out["complexity"] = f"likelihood {vae.likelihood.name} gives no bits to compare with a PNG"
    unit = "bits/dim" if has_bits(vae) else "nats/image"
    table = _table(images, [run.name for run in runs], list(sets))
    return Comparison([run.name for run in runs], table, images, sources, unit, left_out)


def _check(runs: list[Run], data: ImageDataset, n_images: int, iwae_k: int) -> ImageDataset:
    if n_images < 1 or iwae_k < 0:
        raise InputError(f"n_images must be 1 or more and iwae_k 0 or more; received {n_images} and {iwae_k}")
    configs = {dataclasses.replace(run.config, seed=0) for run in runs}
    if len(configs) > 1 or len({run.config.seed for run in runs}) < len(runs):
        names = ", ".join(run.name for run in runs)
        raise InputError(f"runs must differ in their seed, and in nothing else; received {names}")
    for run in runs:
        own = run.own_images(data)
    if min(len(own.x_test), len(own.x_train)) < 2:
        raise InputError(f"{data.name}: a comparison needs two test images, and two of training, or more")
    return own


def _sets(run, data, against, n, data_dir, skip_bad, seed) -> tuple[dict, dict, dict]:
    """Return the images of each set, the run's own test images first; their sources; and what is left out.

    Changed images are others than those inside, or their scores would not be independent.
    """
    n = min(n, len(data.x_test) // 2)
    test = np.asarray(data.x_test[fixed_permutation(len(data.x_test))[: 2 * n]])  # it may be sorted by class
    rng, own, left_out = np.random.default_rng(seed), title_of(data.name), {}
    sets, sources = {own: test[:n]}, {own: f"test images of {data.source}"}
    for name in AGAINST if against is None else dict.fromkeys(against):
        title = SET_TITLES.get(name, title_of(name))
        if name in CHANGES:
            sets[title] = np.ascontiguousarray(CHANGES[name](test[n:], rng))
            sources[title] = f"made of other test images of {data.source}"
        elif title != own or against is not None:
            try:
                images = load_image_list(name, run.data["image_shape"], data_dir, skip_bad)
            except UnavailableError as error:
                if against is not None:
                    raise
                left_out[title] = str(error)
                continue
            title = f"{title} (outside)" if title == own else title
            sets[title] = np.asarray(images.x[fixed_permutation(len(images.x))[:n]])
            sources[title] = images.source
    return sets, sources, left_out


def _png_bits(x: np.ndarray) -> np.ndarray:
    return np.array([8.0 * len(encoded(image, "PNG")) for image in x])


def _scorer(vae, data: ImageDataset, n: int, iwae_k: int) -> Callable[[np.ndarray, np.ndarray], dict]:
    """Return a function of images and their bits as PNG: `cost`, and scores, higher for the less alike."""
    x_val, x_train = (vae.as_observed(np.asarray(x)) for x in (data.x_val[:n], data.x_train[:N_CODES]))
    typical = elbos(vae, x_val, likeliest_labels(vae, x_val))
    codes = vae.encode(x_train, likeliest_labels(vae, x_train))[0]

    def score(x: np.ndarray, png: np.ndarray) -> dict[str, np.ndarray]:
        x = vae.as_observed(x)
        y = likeliest_labels(vae, x)
        elbo = elbos(vae, x, y)
        scores = {"cost": cost(vae, elbo), "elbo": -elbo}
        if iwae_k:
            scores["iwae"] = -iwae(vae.log_weights(x, y, n_samples=iwae_k, seed=NOISE_SEED))
        scores["typicality"] = novelty.typicality(elbo, typical)
        if has_bits(vae):
            scores["complexity"] = -elbo / math.log(2.0) - png
        scores |= {"png": png, "mse": mse_of_each(x, vae.reconstruct(x, y))}
        scores["mahalanobis"] = novelty.mahalanobis(vae.encode(x, y)[0], codes)
        if vae.rate_names:
            by_scale = vae.elbo_by_scale(x, y, seed=NOISE_SEED)
            whole = by_scale.popitem()[1]
            scores |= {f"scales_{name}": whole - bound for name, bound in by_scale.items()}
        return scores

    return score


def _table(images: pd.DataFrame, runs: list[str], sets: list[str]) -> pd.DataFrame:
    inside, *outside = sets
    rows = []
    groups = {key: group for key, group in images.groupby(["run", "set"])}
    for name in outside:
        for score in images.columns[3:]:
            pairs = [[groups[run, part][score].to_numpy() for part in (inside, name)] for run in runs]
            if len(runs) > 1:
                value, half_width = mean_interval([novelty.auroc(*pair) for pair in pairs])
            else:
                value, half_width = novelty.auroc_interval(*pairs[0])
            over = f"{len(runs)} seeds" if len(runs) > 1 else "images"
            row = {"outside": name, "score": score, "auroc": value, "half_width": half_width, "over": over}
            rows.append(row | {"n_inside": len(pairs[0][0]), "n_outside": len(pairs[0][1])})
    return pd.DataFrame(rows)


def as_frame(found: Comparison, digits: int = 2) -> pd.DataFrame:
    """Return the table as it is read: a row a set outside, its mean cost, and AUROC ± half-width a score."""
    pairs = zip(found.table["auroc"], found.table["half_width"], strict=True)
    table = found.table.assign(
        text=[f"{auroc:.{digits}f} ±{half:.{digits}f}".replace(" ±nan", "") for auroc, half in pairs],
        score=[_title(score) for score in found.table["score"]],
    )
    frame = table.pivot_table("text", "outside", "score", aggfunc="first", sort=False)
    frame.insert(0, found.unit, found.images.groupby("set")["cost"].mean())
    return frame


def as_text(found: Comparison) -> str:
    """Return the comparison as lines: the table, the failure of the likelihood, and what the scores are."""
    table, costs = found.table, found.images.groupby("set")["cost"].mean()
    own = next(iter(found.sources))
    scores = list(table["score"].unique())
    wide = max(map(len, found.sources)) + 2
    lines = [f"{'':{wide}}{found.unit:>11}" + "".join(f"{score:>14}" for score in scores)]
    lines.append(f"{own:{wide}}{costs[own]:>11.3f}   (the run's own test images)")
    for name, (mean, *cells) in as_frame(found, digits=3).T.items():
        lines.append(f"{name:{wide}}{mean:>11.3f}" + "".join(f"{cell:>14}" for cell in cells))
    first = table.iloc[0]
    lines += [
        "",
        f"AUROC ± its 95 % interval over {first['over']}; {first['n_inside']:,} images inside, at most so",
        "many outside. 1 tells all apart, 0.5 says nothing, below 0.5 those outside pass as the better ones",
        "",
    ]
    for name, rows in table.groupby("outside", sort=False):
        rows = rows.set_index("score")
        if rows["auroc"]["elbo"] + rows["half_width"]["elbo"] < 0.5:
            best = rows["auroc"].nlargest(3)
            listed = ", ".join(f"{score} {value:.3f}" for score, value in best.items())
            lines.append(f"likelier than the run's own images: {name}; best told apart by {listed}")
    lines += ["", *(f"{score:<12} {MEANINGS[score]}" for score in MEANINGS if _is_used(score, scores))]
    lines += ["", *(f"{name}: {source}" for name, source in found.sources.items())]
    return "\n".join([*lines, *(f"{name} is left out: {why}" for name, why in found.left_out.items())])


def _is_used(kind: str, scores: list[str]) -> bool:
    return any(score.split("_")[0] == kind for score in scores)


def write(found: Comparison, out: Path) -> None:
    """Write `ood.csv`, the table; `ood_images.csv`, the scores of all images; and the figure `ood`."""
    titles = {score: _title(score) for score in found.table["score"].unique()}
    costs = {name: found.images.loc[found.images["set"] == name, "cost"].to_numpy() for name in found.sources}
    figure = plot_novelty(costs, found.table.replace({"score": titles}), unit=found.unit)
    write_table(found.table, out / "ood.csv")
    write_table(found.images, out / "ood_images.csv")
    save_figure(figure, "ood", directory=out, metadata={"runs": found.runs, "sources": found.sources})


def _title(score: str) -> str:
    return TITLES.get(score, f"scale ratio {score.partition('_')[2]}")
