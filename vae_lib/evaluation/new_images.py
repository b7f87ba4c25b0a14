"""What `score`, `reconstruct` and `encode --new` write about images that a model never saw."""

from pathlib import Path

import numpy as np
import pandas as pd

from vae_lib.data.image_list import ImageList
from vae_lib.evaluation.image_scores import cost, has_bits, likeliest_labels, score_images
from vae_lib.evaluation.report import codes_table, write_code_files, write_pngs, write_table
from vae_lib.metrics.reconstruction import psnr_of_each
from vae_lib.plots import image_grids
from vae_lib.plots.save import save_figure
from vae_lib.training.run import Run
from vae_lib.utils.files import ensure_writable


def write_scores(
    run: Run, images: ImageList, out: Path, num_samples: int = 10, reference: np.ndarray | None = None
) -> pd.DataFrame:
    """Write `scores.csv`, a row an image, and `contact_sheet`, the likeliest and the least likely images.

    Args:
        run: A finished run.
        images: In the shape of its own.
        out: The folder.
        num_samples: Images in a row of the contact sheet.
        reference: As of `score_images`.

    Returns:
        The table: `file`, and what `score_images` returns, the label by name.

    Raises:
        InputError: If `out` cannot be written.
    """
    ensure_writable(out)
    vae = run.model()
    table, again = score_images(vae, images.x, reference)
    table = _named(run, table)
    table.insert(0, "file", images.names)
    costs, unit = cost(vae, table["elbo"].to_numpy()), "bits/dim" if has_bits(vae) else "nats"
    order = np.argsort(costs, kind="stable")
    texts = [f"{value:.2f}" if value < 100 else f"{value:,.0f}" for value in costs[order]]
    title = f"The most and the least likely of {len(order):,} images under {run.name} ({unit})"
    x = vae.as_observed(np.asarray(images.x))
    sheet = image_grids.contact_sheet(x[order], again[order], texts, n=num_samples, title=title)
    write_table(table, out / "scores.csv")
    save_figure(sheet, "contact_sheet", directory=out, metadata={"run": run.name, "source": images.source})
    return table


def write_reconstructions(run: Run, images: ImageList, out: Path, num_samples: int = 10) -> pd.DataFrame:
    """Write a PNG file for each reconstruction, a table of them, and a figure of the first.

    Returns:
        The table, as in `reconstructions.csv`: `file`, `reconstruction` (the PNG file), `psnr` in dB.

    Raises:
        InputError: If `out` cannot be written.
    """
    ensure_writable(out)
    vae = run.model()
    x = vae.as_observed(np.asarray(images.x))
    again = vae.reconstruct(x, likeliest_labels(vae, x))
    files = write_pngs(again, out, "reconstruction")
    table = pd.DataFrame({"file": images.names, "reconstruction": files, "psnr": psnr_of_each(x, again)})
    write_table(table, out / "reconstructions.csv")
    notes = [f"{value:.1f} dB" for value in table["psnr"][:num_samples]]
    figure = image_grids.reconstruction_grid(x[:num_samples], again[:num_samples], annotations=notes)
    facts = {"run": run.name, "source": images.source}
    save_figure(figure, "reconstructions", directory=out, metadata=facts)
    return table


def write_new_codes(run: Run, images: ImageList, out: Path) -> None:
    """Write `codes.npz`: `z_mean`, `z_log_var`, (n, latent_dim), and `files`; `codes.csv` has a row an image.

    Raises:
        InputError: If `out` cannot be written.
    """
    ensure_writable(out)
    vae = run.model()
    x = vae.as_observed(np.asarray(images.x))
    y = likeliest_labels(vae, x)
    codes = vae.encode(x, y)
    columns = {"file": images.names} | ({} if y is None else {"label": y})
    arrays = {"z_mean": codes[0], "z_log_var": codes[1], "files": np.array(images.names)}
    write_code_files(arrays, _named(run, codes_table(columns, codes)), out)


def _named(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the names of classes in place of their numbers."""
    names = run.data.get("class_names")
    return table.assign(label=np.array(names)[table["label"]]) if "label" in table and names else table
