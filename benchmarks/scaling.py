"""Cost of an image and memory as a memory-mapped training set grows from 10,000 to 1,000,000 images.

Each size has a process of its own, which trains the default model on 28x28 images; about as many images are
trained on at every size. Watches RssAnon (Linux); mapped pages are the kernel's to drop, and not counted.

    python benchmarks/scaling.py
"""

import argparse
import dataclasses
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from memory import anonymous

from vae_lib.config import TrainConfig
from vae_lib.data.loading import load_dataset
from vae_lib.utils.runtime import processor, start_tensorflow

SIZES = (10_000, 100_000, 1_000_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200_000, help="to train on at each size, at least")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to work [a temporary folder]")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "images.npy"
        fashion = load_dataset("fashion_mnist").x_train
        many = np.lib.format.open_memmap(path, "w+", "uint8", (max(SIZES), *fashion.shape[1:]))
        for i in range(0, len(many), len(fashion)):
            many[i : i + len(fashion)] = fashion[: len(many) - i]
        many.flush()
        print(f"{processor()}\n{'images':>10}{'epochs':>8}{'us/image':>10}{'peak MiB':>10}", flush=True)
        for n in SIZES * options.repeats:
            here, there = context.Pipe()
            process = context.Process(target=measure, args=(path, n, -(-options.images // n), there))
            process.start()
            epochs, microseconds, peak = here.recv()
            process.join()
            print(f"{n:>10,}{epochs:>8}{microseconds:>10.1f}{peak / 2**20:>10,.0f}", flush=True)


def measure(path: Path, n: int, epochs: int, pipe) -> None:
    """Train on the first n images of an array on the disk; send the time of one, and the peak of memory."""
    start_tensorflow()
    from vae_lib.training.trainer import train

    x = np.load(path, mmap_mode="r")[:n]
    small = load_dataset("fashion_mnist").subset(n_val=1000, n_test=1000)
    data = dataclasses.replace(small, name="many", x_train=x, y_train=None, pixels_sha256="0" * 64)
    peak = [0]
    threading.Thread(target=watch, args=(peak,), daemon=True).start()
    seconds = []
    for count in (1000, None):  # the first pays for the start: tracing, threads
        part = data.subset(n_train=count)
        config = TrainConfig(dataset="many", epochs=epochs if count is None else 1)
        with tempfile.TemporaryDirectory() as folder:
            seconds.append(train(config, part, models_dir=folder, verbose=0).record["seconds"])
    pipe.send((epochs, (seconds[1] - seconds[0]) / (n * epochs - 1000) * 1e6, peak[0]))


def watch(peak: list[int]) -> None:
    while True:
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.1)


if __name__ == "__main__":
    main()
