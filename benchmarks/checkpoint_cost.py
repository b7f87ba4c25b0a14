"""What checkpoints and determinism cost: `python benchmarks/checkpoint_cost.py`.

Two trainings of one config take turns, an epoch each: one as `train` does it, with noise that is a function
of (seed, step), with checkpoints and the best weights kept; one whose noise runs on, and that saves nothing.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from vae_lib.config import TrainConfig
from vae_lib.data.loading import load_dataset
from vae_lib.training.run import Run
from vae_lib.utils.runtime import start_tensorflow
from vae_lib.utils.signals import StopRequest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--n_train", type=int, default=10_000, help="images an epoch")
    parser.add_argument("--repeats", type=int, default=8, help="epochs of each kind")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    start_tensorflow(options.threads)
    from vae_lib.training.trainer import TrainingLoop

    class Bare(TrainingLoop):
        """The same steps, and nothing that a resumed run would need."""

        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.vae.reseed = lambda seed, step: None

        def _save(self, at_end):
            pass

    data = load_dataset(options.dataset).subset(n_train=options.n_train)
    config = TrainConfig(dataset=options.dataset, epochs=options.repeats + 1)
    seconds = {TrainingLoop: [], Bare: []}
    with tempfile.TemporaryDirectory() as folder:
        loops = [kind(Run(Path(folder) / kind.__name__), config, data, 0) for kind in seconds]
        for _ in range(config.epochs):
            for loop in loops:
                began = time.perf_counter()
                loop._run_epoch(StopRequest())
                seconds[type(loop)].append(time.perf_counter() - began)
    ratios = np.array(seconds[Bare][1:]) / np.array(seconds[TrainingLoop][1:])  # the first epochs trace
    speed = {kind.__name__: len(data.x_train) / np.median(times[1:]) for kind, times in seconds.items()}
    print(f"{data.source}, {len(data.x_train):,} images an epoch, {loops[0].vae.count_params():,} parameters")
    print(f"with checkpoints and seeded noise: {speed['TrainingLoop']:,.0f} images/s")
    print(f"without: {speed['Bare']:,.0f} images/s")
    print(
        f"ratio: {np.median(ratios):.3f} (from {ratios.min():.3f} to {ratios.max():.3f}, {len(ratios)} pairs)"
    )


if __name__ == "__main__":
    main()
