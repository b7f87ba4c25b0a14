"""Runs per hour of a study: two workers on one thread each against one worker on two threads.

They take turns on the same short cells of Fashion-MNIST (start of the workers not counted).

    python benchmarks/workers.py
"""

import argparse
import itertools
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from vae_lib.config import TrainConfig
from vae_lib.study.grids import grid
from vae_lib.study.runner import StudyPaths, run_cell
from vae_lib.utils.runtime import processor

BASE = TrainConfig(n_train=20_000, epochs=1, latent_dim=32)
WAYS = {"2 workers of 1 thread": (2, 1), "1 worker of 2 threads": (1, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--cells", type=int, default=4, help="in each repeat")
    options = parser.parse_args()
    seeds = itertools.count()
    rates = {name: [] for name in WAYS}
    for _ in range(options.repeats):
        for name, (jobs, threads) in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                places = StudyPaths("data", folder, stand_ins=False)
                cells = grid(BASE, seed=list(itertools.islice(seeds, options.cells)))
                with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
                    list(pool.map(warm_up, [threads] * jobs))
                    began = time.perf_counter()
                    list(
                        pool.map(
                            run_cell, cells, *([value] * len(cells) for value in (places, None, threads))
                        )
                    )
                    rates[name].append(3600 * len(cells) / (time.perf_counter() - began))
    print(f"{processor()}; cells of {BASE.n_train:,} images, one epoch")
    print(f"{'way':<24}{'runs/h':>8}{'lowest':>8}{'highest':>9}")
    for name, values in rates.items():
        print(f"{name:<24}{np.median(values):>8.0f}{min(values):>8.0f}{max(values):>9.0f}")
    two, one = (np.median(values) for values in rates.values())
    print(f"ratio {two / one:.2f}")


def warm_up(threads: int) -> None:
    """Start TensorFlow in a worker."""
    with tempfile.TemporaryDirectory() as folder:
        run_cell(BASE, StudyPaths("data", folder, stand_ins=False), None, threads)


if __name__ == "__main__":
    main()
