"""How good the likelihood is: log p(x) of binarised MNIST or Fashion-MNIST, beside published figures.

Trains the model if it has not been trained (about 40 minutes on one core; resumable), then bounds log p(x) of
the test images, binarised once, by importance weights: K = 500 on all 10,000, and K = 500 and 5,000 on the
first 1,000, so that the step from one K to the other is known. Run it from the project's root:

    python benchmarks/binarised_mnist.py [--dataset fashion_mnist] [--network hierarchical] [--width 32]
"""

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
from scipy.special import logsumexp

from vae_lib.config import TrainConfig
from vae_lib.data.loading import load_dataset
from vae_lib.utils.runtime import start_tensorflow

BINARY = TrainConfig(likelihood="bernoulli", binarize=True, latent_dim=40, width=24, weight_decay=0.05)
CONFIGS = {
    "conv": dataclasses.replace(BINARY, batch_size=128, learning_rate=2e-3, epochs=90),
    "hierarchical": dataclasses.replace(
        BINARY, network="hierarchical", width=16, batch_size=64, learning_rate=2e-3, epochs=30, ema=0.999
    ),
}
BLOCK = 100  # importance weights of an image at a time, so that memory does not grow with K


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models_dir", type=Path, default=Path("models"))
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--dataset", choices=("mnist", "fashion_mnist"), default="mnist")
    parser.add_argument("--network", choices=CONFIGS, default="conv")
    parser.add_argument("--width", type=int, help="in place of that of the network")
    parser.add_argument("--epochs", type=int, help="in place of those of the network")
    options = parser.parse_args()
    start_tensorflow(options.threads)
    from vae_lib.metrics.intervals import standard_error
    from vae_lib.training.scores import evaluate
    from vae_lib.training.trainer import train

    given = {name: value for name in ("width", "epochs") if (value := getattr(options, name)) is not None}
    config = dataclasses.replace(CONFIGS[options.network], dataset=options.dataset, **given)
    data = load_dataset(config.dataset, options.data_dir)
    run = train(config, data, models_dir=options.models_dir, verbose=2)
    vae = run.model()
    record = run.record
    print(f"run {run.name}: {record['seconds']:,.0f} s of training on {record['threads']} threads")
    print(f"test images of {data.source}, binarised once; nats per image, lower is better\n")
    print(f"{'bound':<14}{'images':>8}{'-log p':>10}{'± s.e.':>8}{'seconds':>9}")
    scores = evaluate(vae, data.x_test)
    print(f"{'-ELBO':<14}{scores['n']:>8,}{-scores['elbo']:>10.2f}{scores['elbo_standard_error']:>8.2f}")
    for x, n_samples in ((data.x_test, (500,)), (data.x_test[:1000], (500, 5000))):
        began = time.perf_counter()
        for k, bounds in importance_bounds(vae, x, n_samples):
            seconds = time.perf_counter() - began
            error = standard_error(bounds)
            name = f"IWAE-{k}"
            print(f"{name:<14}{len(x):>8,}{-bounds.mean():>10.2f}{error:>8.2f}{seconds:>9.0f}", flush=True)


def importance_bounds(vae, x: np.ndarray, n_samples: tuple[int, ...]):
    """Yield K, a multiple of BLOCK, and the IWAE-K bound on log p(x) of each image, in nats."""
    from vae_lib.models.vae import NOISE_SEED

    x, log_sum = vae.as_observed(x), -np.inf
    for i in range(max(n_samples) // BLOCK):
        weights = vae.log_weights(x, n_samples=BLOCK, seed=NOISE_SEED + i).astype("float64")
        log_sum, k = np.logaddexp(log_sum, logsumexp(weights, axis=1)), (i + 1) * BLOCK
        if k in n_samples:
            yield k, log_sum - np.log(k)


if __name__ == "__main__":
    main()
