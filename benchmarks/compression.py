"""Lossless compression by the committed models: bytes beside the bound, PNG, WebP and JPEG, in one table.

Takes the first test images of three real data sets, and the flat and the hierarchical model of each. PNG and
WebP are files of single images, as small as Pillow makes them without loss; the JPEG files are those that the
pixels came from, where there are any. "Paid back" is the number of images after which the model's own file is
smaller than what it saves. Images a second are of processor time, on one thread, so that other programs do
not slow them down; compressing is without the check that decompresses again. Run it from the project's root;
1,000 images of each set take some five minutes:

    python benchmarks/compression.py --n 1000
"""

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np

from vae_lib.utils.runtime import processor, start_tensorflow

DATASETS = ("mnist", "fashion_mnist", "cifar10")
KINDS = ("z32", "hierarchical")
COLUMNS = (
    *("model", "images", "bytes", "bound", "over", "bits/dim", "PNG", "WebP", "JPEG"),
    *("in/s", "out/s", "model's bytes", "paid back: PNG", "WebP"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1000, help="test images of each set; 0 takes all")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=DATASETS)
    parser.add_argument("--models_dir", type=Path, default=Path("models/showcase"))
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    options = parser.parse_args()
    start_tensorflow(1)
    print(f"sizes in bytes of all images together; {processor()}, one thread\n")
    print(f"| {' | '.join(COLUMNS)} |\n|---|{'---:|' * (len(COLUMNS) - 1)}")
    for dataset in options.datasets:
        for cells in rows(dataset, options):
            print(f"| {' | '.join(cells)} |", flush=True)


def rows(dataset: str, options):
    """Yield the cells of each model of a data set."""
    from vae_lib.data.loading import load_dataset
    from vae_lib.evaluation.baselines import encode
    from vae_lib.training.run import load_run

    data = load_dataset(dataset, options.data_dir)
    x = data.x_test[: options.n or None]
    others = {codec: sum(len(encode(image, codec)) for image in x) for codec in ("PNG", "WebP")}
    names, jpeg = None, ""
    if data.files_test is not None:
        order = np.argsort(data.files_test[: len(x)])  # as a folder is read: sorted names cost little
        x, chosen = x[order], data.files_test[order]
        files, names = (
            [options.data_dir / dataset / name for name in chosen],
            [f"{name}.png" for name in chosen],
        )
        jpeg = f"{sum(file.stat().st_size for file in files):,}" if "JPEG" in data.source else ""
    for kind in KINDS:
        run = load_run(options.models_dir / f"{dataset}-{kind}")
        result = measure(run.model(), x, names)
        model = (run.directory / "model.keras").stat().st_size
        size, bound = result["bytes"], result["bound"]
        saved = {codec: (other - size) / len(x) for codec, other in others.items()}
        paid = [f"{math.ceil(model / each):,}" if each > 0 else "never" for each in saved.values()]
        yield (
            *(run.name, f"{len(x):,}", f"{size:,}", f"{bound:,.0f}", f"{100 * (size / bound - 1):+.2f} %"),
            *(f"{8 * size / x.size:.3f}", *(f"{other:,}" for other in others.values()), jpeg),
            *(f"{result['in']:.0f}", f"{result['out']:.0f}", f"{model:,}", *paid),
        )


def measure(vae, x, names) -> dict[str, float]:
    """Return the bytes of a file of images, those of the model's bound, and images a second both ways."""
    from vae_lib.apps import compress, decompress

    bound = -vae.elbo_terms(x)["elbo"].astype("float64").sum() / math.log(2) / 8
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.vae"
        began = time.process_time()
        size = compress(vae, x, path, names, check=False)
        between = time.process_time()
        restored, _ = decompress(path, vae)
        ended = time.process_time()
    assert (restored == x).all(), "the pixels differ"
    return {
        "bytes": size,
        "bound": bound,
        "in": len(x) / (between - began),
        "out": len(x) / (ended - between),
    }


if __name__ == "__main__":
    main()
