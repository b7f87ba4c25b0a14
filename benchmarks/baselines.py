"""What a convolutional VAE is worth: simpler models and lossless coders on the same test images, one table.

Trains the VAE, a deterministic autoencoder (the same network and epochs with beta 0) and an MLP VAE for as
many epochs as fit the VAE's training time, unless they are there already; scores them beside the mean image,
PCA with as many axes as there are latents, PNG and WebP. Run it from the project's root:

    python benchmarks/baselines.py --dataset fashion_mnist --epochs 10
"""

import argparse
import dataclasses
import math
import tempfile
from pathlib import Path

import numpy as np

from vae_lib.config import TrainConfig
from vae_lib.data.loading import load_dataset
from vae_lib.utils.runtime import processor, start_tensorflow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--dataset", default="fashion_mnist", help="a name, a folder of images or an .npz file"
    )
    parser.add_argument("--latent_dim", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10, help="of the convolutional VAE")
    parser.add_argument("--n_train", type=int, help="first training images; all if not given")
    parser.add_argument(
        "--n_mosaics", type=int, help="of 1,000 test images, for the coders; all if not given"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--models_dir", type=Path, default=Path("models"))
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    options = parser.parse_args()
    start_tensorflow(options.threads)

    data = load_dataset(options.dataset, options.data_dir).subset(n_train=options.n_train)
    conv = TrainConfig(
        dataset=options.dataset, latent_dim=options.latent_dim, epochs=options.epochs,
        n_train=options.n_train, seed=options.seed,
    )  # fmt: skip
    runs = train_all(conv, data, options.models_dir)
    print(
        f"{len(data.x_test):,} test images of {data.source}; {len(data.x_train):,} training images; ", end=""
    )
    print(f"latent size {options.latent_dim}, seed {options.seed}, {processor()}")
    print(f"\n{'model':<26}{'bits/dim':>9}{'MSE':>9}{'PSNR dB':>9}{'n':>8}{'epochs':>8}{'train s':>9}")
    for name, run in runs.items():
        epochs_and_seconds = f"{run.config.epochs:>8}{run.record['seconds']:>9.0f}"
        print(line(name, *(run.metrics[f"{score}_test"] for score in SCORES)) + epochs_and_seconds)
    for name, *scores in baselines(data, options.latent_dim, options.n_mosaics):
        print(line(name, *scores))


SCORES = ("bits_per_dim", "mse", "psnr", "n")


def baselines(data, latent_dim: int, n_mosaics: int | None):
    """Yield name, bits per dimension, MSE, PSNR and n of what needs no training loop."""
    from vae_lib.evaluation.baselines import CODECS, codec_bits_per_dim, fit_pca, log_prob_bound, reconstruct
    from vae_lib.metrics import bits_per_dim, mse, psnr

    x, nan = data.x_test, math.nan
    mean = np.round(data.x_train.mean(axis=0)).astype("uint8") + np.zeros_like(x)
    yield "mean image", nan, mse(x, mean), psnr(x, mean), len(x)
    pca = fit_pca(data.x_train, latent_dim)
    bits, images = bits_per_dim(-log_prob_bound(pca, x).mean(), x[0].size), reconstruct(pca, x)
    yield f"PCA, {latent_dim} axes", bits, mse(x, images), psnr(x, images), len(x)
    for codec in CODECS:
        bits, n = codec_bits_per_dim(x, codec, n_mosaics)
        yield codec, bits, nan, nan, n


def train_all(conv: TrainConfig, data, models_dir: Path) -> dict:
    """Return the runs of the VAE, the autoencoder and the MLP, the last of equal training time."""
    from vae_lib.training.trainer import train

    runs = {"convolutional VAE": train(conv, data, models_dir=models_dir, verbose=2)}
    autoencoder = dataclasses.replace(conv, beta=0.0)
    runs["autoencoder (beta 0)"] = train(autoencoder, data, models_dir=models_dir, verbose=2)
    mlp = dataclasses.replace(conv, network="mlp")
    seconds = []
    for epochs in (1, 3):  # the start, and what each further epoch takes
        with tempfile.TemporaryDirectory() as folder:
            probe = train(dataclasses.replace(mlp, epochs=epochs), data, models_dir=folder, verbose=0)
            seconds.append(probe.record["seconds"])
    each = (seconds[1] - seconds[0]) / 2
    left = runs["convolutional VAE"].record["seconds"] - (seconds[0] - each)
    mlp = dataclasses.replace(mlp, epochs=max(1, round(left / each)))
    runs["MLP VAE, equal time"] = train(mlp, data, models_dir=models_dir, verbose=2)
    return runs


def line(name: str, bits: float, mse: float, psnr: float, n: int) -> str:
    cells = (
        "" if math.isnan(value) else f"{value:.{digits}f}"
        for value, digits in ((bits, 3), (mse, 1), (psnr, 2))
    )
    return f"{name:<26}" + "".join(f"{cell:>9}" for cell in cells) + f"{n:>8,}"


if __name__ == "__main__":
    main()
