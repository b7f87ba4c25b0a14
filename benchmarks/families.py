"""Cost of the flat and the hierarchical VAE: images a second and memory, side by side, from 28 to 256 pixels.

Each line is a process of its own, which takes training steps on random images with the defaults of
`TrainConfig`. The ratio is of times of a step with equal batches. Run it from the project's root, on an
otherwise idle machine; it takes some minutes:

    python benchmarks/families.py
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

SHAPES = ((28, 28, 1), (32, 32, 3), (64, 64, 3), (128, 128, 3), (256, 256, 3))
NETWORKS = ("conv", "resnet", "hierarchical")
BATCHES = {28: 64, 32: 64, 64: 32, 128: 16, 256: 8}
N_STEPS = 12  # after two of warm-up; the median counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", nargs=2, metavar=("NETWORK", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]), options.threads)))
        return
    print(
        f"{'images':<14}{'network':<14}{'batch':>6}{'images/s':>10}{'of flat':>9}{'GiB':>6}{'parameters':>12}"
    )
    for shape in SHAPES:
        flat = None
        for network in NETWORKS:
            command = [
                sys.executable,
                __file__,
                "--threads",
                str(options.threads),
                "--one",
                network,
                str(shape[0]),
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            result = json.loads(done.stdout.splitlines()[-1])
            flat = flat or result["seconds"]
            size, batch = "x".join(map(str, shape)), BATCHES[shape[0]]
            print(
                f"{size:<14}{network:<14}{batch:>6}{batch / result['seconds']:>10,.0f}"
                f"{result['seconds'] / flat:>8.1f}x{result['gib']:>6.2f}{result['parameters']:>12,}",
                flush=True,
            )


def measure(network: str, side: int, threads: int) -> dict[str, float]:
    """Return the median time of a training step, the peak memory of the process, and the parameters."""
    from vae_lib.utils.runtime import start_tensorflow

    start_tensorflow(threads)
    import keras
    import tensorflow as tf

    from vae_lib.config import TrainConfig
    from vae_lib.training.run import make_vae

    shape = next(shape for shape in SHAPES if shape[0] == side)
    vae = make_vae(TrainConfig(dataset="random", network=network), shape)
    vae.compile(keras.optimizers.Adam(1e-4), jit_compile=False)
    step = tf.function(vae.train_step, reduce_retracing=False, jit_compile=False)
    x = np.random.default_rng(0).integers(0, 256, (BATCHES[side], *shape), dtype="uint8")
    times = []
    for _ in range(N_STEPS + 2):
        began = time.perf_counter()
        step((x,))
        times.append(time.perf_counter() - began)
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": float(np.median(times[2:])), "gib": gib, "parameters": vae.count_params()}


if __name__ == "__main__":
    main()
