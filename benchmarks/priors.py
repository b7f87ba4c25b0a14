"""Which learned prior: the flow of the library against a VampPrior, in held-out bits per dim and in lines.

Trains N(0, I), the flow and the VampPrior with the same encoder, decoder, images and epochs, each with every
seed. The VampPrior (Tomczak and Welling 2018, arXiv:1705.07120) lives here alone. Run it from the project's
root:

    python benchmarks/priors.py
"""

import argparse
import inspect
import math
import tempfile
from pathlib import Path

import numpy as np

from vae_lib.config import TrainConfig
from vae_lib.data.loading import load_dataset
from vae_lib.metrics.intervals import mean_interval
from vae_lib.training.run import Run
from vae_lib.utils.files import write_json
from vae_lib.utils.runtime import start_tensorflow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--n_train", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--latent_dim", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n_inputs", type=int, default=128, help="pseudo-inputs of the VampPrior")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    start_tensorflow(options.threads)
    import keras
    from keras import ops

    from vae_lib.models.priors import FlowPrior, normal_log_prob
    from vae_lib.training.trainer import TrainingLoop

    class VampPrior(keras.layers.Layer):
        """The mean of q(z|u) over pseudo-inputs u, which are learned and begin as training images."""

        def __init__(self, encode, images):
            super().__init__()
            start = keras.initializers.Constant(images / np.float32(255))
            self.inputs = self.add_weight(shape=images.shape, initializer=start, name="pseudo_inputs")
            self.encode_inputs = lambda: encode(ops.clip(self.inputs, 0.0, 1.0))
            self.built = True

        def log_prob(self, z, y=None):
            z_mean, z_log_var = self.encode_inputs()
            terms = normal_log_prob(z[:, None], z_mean[None], z_log_var[None])
            return ops.logsumexp(terms, axis=1) - math.log(len(self.inputs))

        def rate(self, z, z_mean, z_log_var, y=None):
            return normal_log_prob(z, z_mean, z_log_var) - self.log_prob(z)

    class VampLoop(TrainingLoop):
        def _make_vae(self):
            vae = super()._make_vae()
            vae.prior = VampPrior(vae._encode, np.asarray(self.data.x_train[: options.n_inputs]))
            return vae

    data = load_dataset(options.dataset).subset(n_train=options.n_train)
    print(f"test images of {data.source}; {len(data.x_train):,} training images, {options.epochs} epochs")
    print(f"{'prior':<10}{'bits/dim':>10}{'± 95 %':>9}{'rate':>8}{'seconds':>9}{'lines':>7}")
    lines = {"normal": 0, "flow": count(FlowPrior), "vamp": count(VampPrior)}
    for name, n_lines in lines.items():
        runs = []
        for seed in range(options.seeds):
            config = TrainConfig(
                dataset=options.dataset, latent_dim=options.latent_dim, epochs=options.epochs, seed=seed,
                prior="flow" if name == "flow" else "normal",
            )  # fmt: skip
            with tempfile.TemporaryDirectory() as folder:
                run = Run(Path(folder))
                description = {"config": config.to_dict(), "data": data.describe()}
                write_json(run.directory / "config.json", description)
                (VampLoop if name == "vamp" else TrainingLoop)(run, config, data, 0).run_to_end()
                runs.append({**run.metrics, **run.record})
        mean, half_width = mean_interval([run["bits_per_dim_test"] for run in runs])
        rate, seconds = (np.mean([run[key] for run in runs]) for key in ("rate_test", "seconds"))
        print(f"{name:<10}{mean:>10.3f}{half_width:>9.3f}{rate:>8.1f}{seconds:>9.0f}{n_lines:>7}", flush=True)


def count(cls) -> int:
    """Return the lines of a class that are not blank."""
    return sum(bool(line.strip()) for line in inspect.getsource(cls).splitlines())


if __name__ == "__main__":
    main()
