"""What `evaluate`, `sample` and `encode` write into a folder: figures, images, scores and codes."""

import functools
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vae_lib import latent_space
from vae_lib.config import EvaluationConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.evaluation.baselines import encode
from vae_lib.evaluation.classifier import has_classes, load_classifier
from vae_lib.evaluation.context import EvaluationContext
from vae_lib.evaluation.metric_table import records, score_table, training_scores
from vae_lib.evaluation.scorecard import scorecard
from vae_lib.metrics import disentanglement
from vae_lib.plots import image_grids
from vae_lib.plots.curves import plot_loss_curves
from vae_lib.plots.embeddings import plot_latent_organisation
from vae_lib.plots.latents import plot_factor_matrix
from vae_lib.plots.save import save_figure
from vae_lib.plots.style import figure_style
from vae_lib.training.mixture import generate
from vae_lib.training.run import Run
from vae_lib.training.scores import evaluate
from vae_lib.utils.files import atomic_write, ensure_writable, utf8, write_json, write_text, write_together

N_EMBEDDED = 2000  # test images in the t-SNE figure, and behind the table of factors
MIN_EMBEDDED = 11  # fewer have no neighbourhoods to show
MAX_CLASSES = 20  # rows of samples by class


def write_report(
    run: Run, data: ImageDataset, out: Path, num_samples: int, models_dir: Path | None = None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Score a run on the test images and write its figures.

    Args:
        run: A finished run.
        data: The images it was trained on.
        out: Folder for `evaluation.json`, the scores that training ends with; `scorecard.json`, all others;
            reconstructions, samples, interpolation, latent space, curves, and what labels or factors allow:
            samples by class, and what latents know of factors.
        num_samples: Images in each figure.
        models_dir: Where the data set's classifier is kept, or None for the quick scores alone.

    Returns:
        The table of all scores, or of those that training ends with; and figure left out -> reason.

    Raises:
        InputError: If `out` cannot be written.
    """
    ensure_writable(out)
    vae, data = run.model(), run.own_images(data)
    context = EvaluationContext(vae, data, None, EvaluationConfig())
    quick = evaluate(vae, data.x_test, context.labels("test"))
    scores = {f"{name}_test": value for name, value in quick.items()}
    facts = {"run": run.name, "source": data.source, "split": "test", "seed": run.config.seed}
    write_json(out / "evaluation.json", {**facts, "scores": scores})
    table = score_table(training_scores(scores, ["test"]))
    if models_dir is not None:
        print("all scores take some minutes; --quick gives those of the training's end at once", flush=True)
        classifier = load_classifier(data, models_dir, verbose=1) if has_classes(data) else None
        mixture = run.mixture(data).mixture
        table = scorecard(vae, data, classifier, mixture=mixture)
        content = {**facts, "evaluation": context.config.to_dict(), "scores": records(table)}
        write_json(out / "scorecard.json", content)
    left_out = {}
    with figure_style():
        for name, figure in _figures(run, context, num_samples).items():
            if isinstance(figure, str):
                left_out[name] = figure
            else:
                save_figure(figure, name, directory=out, metadata=facts)
    return table, left_out


def _figures(run: Run, context: EvaluationContext, n: int) -> dict[str, Figure | str]:
    """Return the figures of a run by name; in place of one that these images do not allow, the reason."""
    vae, data = context.vae, context.data
    x, y = context.images("test", slice(n)), context.labels("test", slice(n))
    asked = np.arange(n) % vae.num_classes if vae.num_classes else None
    kept = run.mixture(data) if run.has_mixture else None
    generated = functools.partial(generate, vae, kept=kept)
    prior = "mixture" if kept and kept.better == "mixture" else "model"
    sample_grid = functools.partial(image_grids.sample_grid, prior=prior)
    figures = {
        "loss_curves": plot_loss_curves(run.history),
        "reconstructions": image_grids.reconstruction_grid(x, vae.reconstruct(x, y)),
        "samples": sample_grid(generated(n, asked), kind="decoder mean"),
        "samples_drawn": sample_grid(generated(n, asked, draw=True), kind="draw from p(x|z)"),
    }
    half = min(len(x) // 2, 6)
    figures["interpolation"] = _interpolation_figure(context, half) if half else "it needs two images"
    if vae.latent_dim == 2 and not vae.num_classes and vae.prior.name == "normal":
        codes, quantiles = latent_space.prior_quantile_grid(15)  # of N(0, I)
        plane = vae.decode(codes.reshape(-1, 2)).reshape(15, 15, *vae.image_shape)
        figures["manifold"] = image_grids.manifold_grid(plane, quantiles)
    if vae.num_classes:
        names = data.class_names[:MAX_CLASSES]
        rows = [generated(n, label) for label in range(len(names))]
        figures["samples_by_class"] = image_grids.conditional_grid(np.stack(rows), names)
    if vae.rate_names and half:
        figures["mixed_levels"] = _mixing_figure(context, half)
    return figures | _latent_figures(context)


def _mixing_figure(context: EvaluationContext, n: int) -> Figure:
    """Show images whose coarse scales are of one test image and whose finer ones are of another."""
    vae, (coarse, fine, y) = context.vae, _pairs(context, n)
    scales = [name.removeprefix("rate_") for name in vae.rate_names]
    rows = {"coarse scales from": coarse}
    for split in range(len(scales) - 1, 0, -1):
        rows[f"up to {scales[split - 1]}"] = vae.mix_levels(coarse, fine, split, y)
    rows["finer scales from"] = fine
    title = "Latents of two images, mixed by scale (means of p(x|z))"
    return image_grids.image_grid(
        np.concatenate(list(rows.values())), n_cols=n, row_labels=list(rows), title=title
    )


def _interpolation_figure(context: EvaluationContext, n: int) -> Figure:
    """Show paths between n pairs of test images."""
    x_from, x_to, y = _pairs(context, n)
    return image_grids.interpolation_grid(context.vae.interpolate(x_from, x_to, y=y))


def _pairs(context: EvaluationContext, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return the first n test images, the next n and no labels; of a conditional model, pairs of one class.

    The second of these is the last test image of the class, and the labels are those of the pairs.
    """
    y = context.labels("test")
    second = slice(n, 2 * n) if y is None else [np.flatnonzero(y == label)[-1] for label in y[:n]]
    x = context.images("test", slice(n)), context.images("test", second)
    return *x, None if y is None else y[:n]


def _latent_figures(context: EvaluationContext) -> dict[str, Figure | str]:
    """Return PCA beside t-SNE of the codes of the first test images, and what latents know of factors."""
    embedded, data = slice(N_EMBEDDED), context.data
    codes, _ = context.vae.encode(context.images("test", embedded), context.labels("test", embedded))
    needs = {
        "two latents": codes.shape[1] > 1,
        f"{MIN_EMBEDDED} test images, and there are {len(codes)}": len(codes) >= MIN_EMBEDDED,
        "codes that differ, and all latents collapsed": np.ptp(codes, axis=0).any(),
    }
    if lacking := [need for need, is_met in needs.items() if not is_met]:
        return {"latent_space": f"it needs {lacking[0]}"}
    perplexity = min(30.0, (len(codes) - 1) / 3)
    coordinates, explained = latent_space.embed_pca(codes)
    tsne = {perplexity: latent_space.embed_tsne(codes, perplexity)}
    labels = np.zeros(len(codes), dtype=int) if data.y_test is None else data.y_test[embedded]
    layout = {"explained": explained, "class_names": data.class_names or None}
    figures = {"latent_space": plot_latent_organisation(coordinates, tsne, labels, **layout)}
    factors = None if data.factors_test is None else data.factors_test[embedded]
    if factors is not None and np.ptp(factors, axis=0).all():
        information, entropy = disentanglement.mutual_information(codes, factors)
        text = {"label": "share of the factor's entropy", "title": "What latents know of factors"}
        figures["factors"] = plot_factor_matrix(information / entropy, data.factor_names, **text).figure
    return figures


def write_samples(
    run: Run,
    out: Path,
    n: int,
    labels: list[int] | None,
    prior: str,
    seed: int,
    temperature: float,
    draw: bool,
) -> None:
    """Generate images from a prior: one PNG each, and a figure of all.

    Raises:
        InputError: If `out` cannot be written.
    """
    ensure_writable(out)
    y, options = labels and np.array(labels), {"prior": prior, "seed": seed, "temperature": temperature}
    images = run.sample(n, y, draw=draw, **options)
    write_pngs(images, out, "sample")
    kind = "draw from p(x|z)" if draw else "decoder mean"
    figure = image_grids.sample_grid(images, kind=kind, prior=prior)
    save_figure(figure, "samples", directory=out, metadata={"run": run.name, **options})


def write_pngs(images: np.ndarray, out: Path, name: str) -> list[str]:
    """Write images as `<name>_0000.png`, ... in place of all earlier ones; return the names of the files."""
    for old in out.glob(f"{name}_*.png"):  # of other settings: they are not mixed
        if old.stem.removeprefix(f"{name}_").isdecimal():
            old.unlink()
    files = [f"{name}_{i:04d}.png" for i in range(len(images))]
    for file, image in zip(files, images, strict=True):
        atomic_write(out / file, lambda path, x=image: path.write_bytes(encode(x, "PNG")))
    return files


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all."""
    write_text(path, _as_csv(table))


def _as_csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, float_format="%.6g")


def write_code_files(arrays: dict[str, np.ndarray], table: pd.DataFrame, out: Path) -> None:
    """Write `codes.npz` and `codes.csv`, both or neither."""
    text = utf8(_as_csv(table))
    writers = {
        "codes.npz": lambda path: np.savez(path, **arrays),
        "codes.csv": lambda path: path.write_bytes(text),
    }
    write_together({out / name: write for name, write in writers.items()})


def codes_table(columns: dict, codes: tuple[np.ndarray, np.ndarray]) -> pd.DataFrame:
    """Return a table of images, a row each: what `columns` hold, and each latent's mean and log-variance."""
    for name, values in zip(("z_mean", "z_log_var"), codes, strict=True):
        columns = columns | {f"{name}_{i}": values[:, i] for i in range(values.shape[1])}
    return pd.DataFrame(columns)


def write_codes(run: Run, data: ImageDataset, out: Path) -> str:
    """Write `codes.npz`: `z_mean_<part>` and `z_log_var_<part>`, (n, latent_dim), labels, their names, files.

    `codes.csv` holds the same, one row an image: part, file, label, and each latent's mean and log-variance.

    Args:
        run: A finished run.
        data: The images it was trained on.
        out: The folder.

    Returns:
        How many images each part has, in a phrase.

    Raises:
        InputError: If `out` cannot be written.
    """
    ensure_writable(out)
    vae, data, counts, tables = run.model(), run.own_images(data), [], []
    arrays = {"class_names": np.array(data.class_names)} if data.class_names else {}
    for part in ("train", "val", "test"):
        x, y = data.images_and_labels(part)
        codes = vae.encode(vae.as_observed(x), y if vae.num_classes else None)
        arrays[f"z_mean_{part}"], arrays[f"z_log_var_{part}"] = codes
        named = {"y": y, "files": getattr(data, f"files_{part}")}
        arrays |= {f"{key}_{part}": values for key, values in named.items() if values is not None}
        counts.append(f"{len(x):,} {part}")
        columns = {"part": part, "file": named["files"]} if named["files"] is not None else {"part": part}
        columns |= {} if y is None else {"label": np.array(data.class_names)[y]}
        tables.append(codes_table(columns, codes))
    write_code_files(arrays, pd.concat(tables), out)
    return ", ".join(counts)
