"""What checkpoints, determinism and reading the loss cost: `python benchmarks/checkpoint_cost.py`.

Three trainings of one config take turns, an epoch each: one as `train` does it, with noise that is a function
of (seed, step), with checkpoints and the best weights kept; one whose noise runs on, and that saves nothing;
and one that reads its loss at every step, whose weights must come out the same.
"""

import argparse
import tempfile
import time
from pathlib import Path
from unittest import mock

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
    from vae_lib.training import trainer
    from vae_lib.training.trainer import TrainingLoop

    class Bare(TrainingLoop):
        """The same steps, and nothing that a resumed run would need."""

        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.vae.reseed = lambda seed, step: None

        def _save(self, at_end):
            pass

    class Reading(TrainingLoop):
        """The same steps, each of which the loop waits for."""

        def _run_epoch(self, stop):
            with mock.patch.object(trainer, "READ_STEPS", 1):
                super()._run_epoch(stop)

    data = load_dataset(options.dataset).subset(n_train=options.n_train)
    config = TrainConfig(dataset=options.dataset, epochs=options.repeats + 1)
    seconds = {TrainingLoop: [], Bare: [], Reading: []}
    with tempfile.TemporaryDirectory() as folder:
        loops = [kind(Run(Path(folder) / kind.__name__), config, data, 0) for kind in seconds]
        for _ in range(config.epochs):
            for loop in loops:
                began = time.perf_counter()
                loop._run_epoch(StopRequest())
                seconds[type(loop)].append(time.perf_counter() - began)
    print(f"{data.source}, {len(data.x_train):,} images an epoch, {loops[0].vae.count_params():,} parameters")
    own, *others = (np.array(times[1:]) for times in seconds.values())  # the first epochs trace
    print(f"as train does it: {len(data.x_train) / np.median(own):,.0f} images/s, as a ratio of those")
    for times, kind in zip(
        others, ("without checkpoints and seeded noise", "reading each loss"), strict=True
    ):
        ratios = times / own
        print(
            f"{kind}: {np.median(ratios):.3f} (from {ratios.min():.3f} to {ratios.max():.3f}, "
            f"{len(ratios)} pairs)"
        )
    equal = all(map(np.array_equal, loops[0]._weights(), loops[2]._weights()))
    print(f"whether reading each loss gave the same weights, bit for bit: {equal}")


if __name__ == "__main__":
    main()
