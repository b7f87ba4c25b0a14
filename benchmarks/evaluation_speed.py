"""Start-up and evaluation: seconds to an answer of the command line, importance samples per second, memory.

Trains a short Fashion-MNIST model first. Medians of several turns:

    python benchmarks/evaluation_speed.py
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vae_lib.config import TrainConfig
from vae_lib.data.loading import load_dataset
from vae_lib.utils.runtime import processor, start_tensorflow, thread_count

PYTHON = {
    "interpreter alone": ["-c", "pass"],
    "--help": ["-m", "vae_lib", "--help"],
    "train --help": ["-m", "vae_lib", "train", "--help"],
    "wrong argument": ["-m", "vae_lib", "train", "--latent_dim", "x"],
    "wrong value": ["-m", "vae_lib", "train", "--latent_dim", "0"],
    "import tensorflow": ["-c", "import tensorflow"],
    "import vae_lib.training": ["-c", "import vae_lib.training"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{processor()}, medians of {options.repeats}")
    for name, words in PYTHON.items():
        print(f"{name:<36}{median(options.repeats, lambda words=words: call(words)):>9.2f} s", flush=True)
    start_tensorflow()
    from vae_lib.training.scores import evaluate
    from vae_lib.training.trainer import train

    data = load_dataset("fashion_mnist")
    with tempfile.TemporaryDirectory() as folder:
        run = train(TrainConfig(epochs=1), data, models_dir=folder, verbose=0)
        vae = run.model()
        evaluate(vae, data.x_test[:500])  # traces
        print(f"on {thread_count()} threads, latent size 16, width 16")
        seconds = median(options.repeats, lambda: evaluate(vae, data.x_test))
        print(f"{'scores of 10,000 test images':<36}{seconds:>9.2f} s")
        x, k = data.x_test[:200], 500
        blocks = range(k // 100)  # of 100 importance samples an image
        seconds = median(options.repeats, lambda: [vae.log_weights(x, n_samples=100, seed=i) for i in blocks])
        print(f"{'importance samples':<36}{len(x) * k / seconds:>9,.0f} /s")
        for name, words in (
            ("evaluate --quick", ["--quick"]),
            ("evaluate, first time", []),
            ("evaluate", []),
        ):
            words = ["-m", "vae_lib", "evaluate", str(run.directory), *words, "--models_dir", folder]
            seconds = timed(lambda words=words: call([*words, "--out", str(Path(folder) / "out")]))
            print(f"{name:<36}{seconds:>9.1f} s", flush=True)


def call(words: list[str]) -> None:
    subprocess.run([sys.executable, *words], capture_output=True, check=False)


def timed(function) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def median(repeats: int, function) -> float:
    return float(np.median([timed(function) for _ in range(repeats)]))


if __name__ == "__main__":
    main()
