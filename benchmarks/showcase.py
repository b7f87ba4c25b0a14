"""The models that come with their weights: bits per dim beside what lossless coders need for the same pixels.

Trains those that `models/showcase/` does not hold (about four hours for all on two cores, resumable). The
coders get mosaics of 1,000 test images. Run it from the project's root:

    python benchmarks/showcase.py
"""

import argparse
from pathlib import Path

import joblib

from vae_lib.data.loading import load_dataset
from vae_lib.study.grids import showcase
from vae_lib.utils.runtime import start_tensorflow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models_dir", type=Path, default=Path("models/showcase"))
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--jobs", type=int, default=2, help="worker processes, each on one thread")
    parser.add_argument(
        "--only", nargs="+", choices=showcase(), default=list(showcase()), help="which models"
    )
    options = parser.parse_args()
    calls = (joblib.delayed(trained)(name, options.models_dir, options.data_dir) for name in options.only)
    runs = joblib.Parallel(n_jobs=options.jobs)(calls)
    print(
        f"{'model':<28}{'bits/dim':>9}{'PSNR dB':>9}{'rate':>8}{'MB':>6}{'WebP':>7}{'PNG':>7}   test images"
    )
    coders = {}
    for run in runs:
        name, scores = run.config.dataset, run.metrics
        coders[name] = coders.get(name) or coded(name, options.data_dir)
        megabytes = (run.directory / "model.keras").stat().st_size / 1e6
        print(
            f"{run.name:<28}{scores['bits_per_dim_test']:>9.3f}{scores['psnr_test']:>9.2f}"
            f"{scores['rate_test']:>8.1f}{megabytes:>6.1f}{coders[name]['WebP']:>7.2f}{coders[name]['PNG']:>7.2f}"
            f"   {scores['n_test']:,} of {run.data['source']}"
        )


def trained(name: str, models_dir: Path, data_dir: Path):
    start_tensorflow(1)
    from vae_lib.training.trainer import train

    config = showcase()[name]
    return train(config, load_dataset(config.dataset, data_dir), models_dir=models_dir, name=name, verbose=0)


def coded(dataset: str, data_dir: Path) -> dict[str, float]:
    """Return the bits per dim of each lossless format, over three mosaics."""
    from vae_lib.evaluation.baselines import CODECS, codec_bits_per_dim

    x = load_dataset(dataset, data_dir).x_test
    return {codec: codec_bits_per_dim(x, codec, n_mosaics=3)[0] for codec in CODECS}


if __name__ == "__main__":
    main()
