"""What each way of training has reached after 2, 5 and 10 minutes of the same processor.

The Keras example's recipe (its architecture, Adam 1e-3, no schedule, batches of 128) and pythae's trainer are
scored after each epoch; the clock stands still meanwhile. `vae_lib` is trained to its end for several numbers
of epochs, since its schedule ends with the run: with one z, and with latents on several scales. All use the
same training images, likelihood and one-sample ELBO of all test images. Run it from the project's root, on an
otherwise idle machine; it takes an hour and a half, and keeps each way that was measured:

    python benchmarks/time_to_quality.py
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import contenders
import numpy as np

from vae_lib.data.loading import load_dataset
from vae_lib.utils.runtime import start_tensorflow

TASKS = {  # and the passes over the training images that `vae_lib` is given
    "fashion_mnist": {
        "latent_dim": 16, "likelihood": "bernoulli", "unit": "nats per image",
        "flat": (1, 5, 14, 28), "hierarchical": (1, 3, 7),
    },
    "cifar10": {
        "latent_dim": 128, "likelihood": "discretized_logistic", "unit": "bits per dimension",
        "flat": (1, 3, 5, 14, 28), "hierarchical": (1, 3, 7),
    },
}  # fmt: skip
MINUTES = (2, 5, 10)
NAMES = {
    "recipe": "Keras example's recipe", "pythae": "pythae",
    "flat": "vae_lib, one z", "hierarchical": "vae_lib, several scales",
}  # fmt: skip
OURS = ("flat", "hierarchical")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/time_to_quality"))
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        dataset, way = options.measure
        return WAYS[way](dataset)
    options.out.mkdir(parents=True, exist_ok=True)
    curves = {
        dataset: {
            way: measured(dataset, way, options.out)
            for way in WAYS
            if way != "pythae" or dataset == "fashion_mnist"  # its pixels are binary
        }
        for dataset in TASKS
    }
    for dataset in curves:
        report(dataset, curves[dataset])
    draw(curves)
    return None


def measured(dataset: str, way: str, out: Path) -> list[dict]:
    """Return the scores of one way, measured in a process of its own unless a file has them."""
    path = out / f"{dataset}-{way}.jsonl"
    if not path.exists():
        command = [sys.executable, __file__, "--measure", dataset, way]
        quiet = {**os.environ, "TQDM_DISABLE": "1"}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=quiet)
        path.write_text(done.stdout)
    return [json.loads(line) for line in path.read_text().splitlines()]


def tell(epochs: int, seconds: float, score: float) -> None:
    print(json.dumps({"epochs": epochs, "seconds": round(seconds, 1), "score": round(score, 4)}), flush=True)


def train_and_tell(epoch: contenders.Epoch, score: Callable[[], float]) -> None:
    """Train until ten minutes are over; the clock stands still while the test images are scored."""
    epochs, seconds = 0, 0.0
    while seconds < 60 * MINUTES[-1]:
        began = time.perf_counter()
        epoch()
        epochs, seconds = epochs + 1, seconds + time.perf_counter() - began
        tell(epochs, seconds, score())


def recipe(dataset: str) -> None:
    start_tensorflow()
    task, data = TASKS[dataset], load_dataset(dataset)
    epoch, model = contenders.keras_fit(data.x_train, task["latent_dim"], task["likelihood"])
    train_and_tell(epoch, lambda: score_of(task, data.x_test, model.encoder, model.decoder))


def pythae(dataset: str) -> None:
    import torch

    task, data = TASKS[dataset], load_dataset(dataset)
    epoch, model = contenders.pythae(data.x_train)
    start_tensorflow()

    def encode(x):
        with torch.no_grad():
            both = model.encoder.network(torch.from_numpy(np.asarray(x)).permute(0, 3, 1, 2))
        return tuple(part.numpy() for part in both.chunk(2, dim=1))

    def decode(z):
        with torch.no_grad():
            return model.decoder.network(torch.from_numpy(np.asarray(z))).permute(0, 2, 3, 1).numpy()

    def score():
        model.eval()
        return score_of(task, data.x_test, encode, decode)

    train_and_tell(epoch, score)


def flat(dataset: str) -> None:
    ours(dataset, TASKS[dataset]["flat"])


def hierarchical(dataset: str) -> None:
    ours(dataset, TASKS[dataset]["hierarchical"], network="hierarchical", batch_size=32)


def ours(dataset: str, numbers_of_epochs: tuple[int, ...], **settings) -> None:
    start_tensorflow()
    from vae_lib.config import TrainConfig
    from vae_lib.training.trainer import train

    task, data = TASKS[dataset], load_dataset(dataset)
    settings |= {"dataset": dataset, "likelihood": task["likelihood"], "latent_dim": task["latent_dim"]}
    for epochs in numbers_of_epochs:
        config = TrainConfig(epochs=epochs, **settings)
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            run = train(config, data, models_dir=folder, verbose=0)
            seconds = time.perf_counter() - began  # validation, checkpoints and the final scores included
            bits = run.metrics.get("bits_per_dim_test")
            tell(epochs, seconds, -run.metrics["elbo_test"] if bits is None else bits)


WAYS = {"recipe": recipe, "pythae": pythae, "flat": flat, "hierarchical": hierarchical}


def score_of(task: dict, x_test: np.ndarray, encode, decode) -> float:
    """Return the negative test ELBO in nats, or bits per dim where the likelihood has them."""
    from vae_lib.models.likelihoods import get_likelihood
    from vae_lib.models.priors import NormalPrior

    likelihood, prior, rng = get_likelihood(task["likelihood"]), NormalPrior(), np.random.default_rng(0)
    losses = []
    for i in range(0, len(x_test), 500):
        x = x_test[i : i + 500].astype("float32") / 255
        z_mean, z_log_var = (np.asarray(part) for part in encode(x))
        z = z_mean + np.exp(z_log_var / 2) * rng.standard_normal(z_mean.shape).astype("float32")
        loss = prior.rate(z, z_mean, z_log_var) - likelihood.log_prob(x, decode(z))
        losses.append(np.asarray(loss))
    nats = float(np.concatenate(losses).mean())
    if not likelihood.has_bits_per_dim:
        return nats
    return likelihood.bits_per_dim(nats, x_test.shape[1:])


def report(dataset: str, curves: dict) -> None:
    print(f"{dataset}, negative test ELBO in {TASKS[dataset]['unit']}: the best so far")
    print(f"  {'after':<26}" + "".join(f"{minutes:>6} min" for minutes in MINUTES))
    for way, points in curves.items():
        scores = "".join(f"{best_after(points, minutes):>10.3f}" for minutes in MINUTES)
        print(f"  {NAMES[way]:<26}{scores}")
    for way in [way for way in curves if way not in OURS]:
        epochs = np.diff([0.0, *(point["seconds"] for point in curves[way])])
        pace = f"{np.median(epochs):.1f} s an epoch in the median, {epochs.min():.1f} to {epochs.max():.1f}"
        print(f"{NAMES[way]}: {pace}")
        for goal in curves[way]:
            if goal["epochs"] not in (10, 30):
                continue
            there = [point for point in curves["flat"] if point["score"] <= goal["score"]]
            mine = f"{there[0]['seconds']:,.0f} s ({there[0]['epochs']} epochs)" if there else "not reached"
            share = f", 1/{goal['seconds'] / there[0]['seconds']:.1f} of the time" if there else ""
            print(
                f"  its {goal['score']:.3f} after {goal['epochs']} epochs, {goal['seconds']:,.0f} s: "
                f"{NAMES['flat']} {mine}{share}"
            )
    print()


def best_after(points: list[dict], minutes: float) -> float:
    return min((p["score"] for p in points if p["seconds"] <= 60 * minutes), default=float("nan"))


def draw(curves: dict) -> None:
    """Draw the scores against time, a panel for each data set, as images/time_to_quality.png."""
    from matplotlib.ticker import NullLocator

    from vae_lib.data.dataset import title_of
    from vae_lib.plots.save import save_figure
    from vae_lib.plots.style import figure_style, new_figure, palette

    with figure_style():
        figure = new_figure(4.6 * len(curves), 3.9)
        axes = figure.subplots(1, len(curves))
        for ax, (dataset, ways) in zip(axes, curves.items(), strict=True):
            for way, points in ways.items():
                minutes, scores = [p["seconds"] / 60 for p in points], [p["score"] for p in points]
                style = "o-" if way in OURS else ".--"
                ax.plot(minutes, scores, style, color=palette(NAMES)[way], label=NAMES[way], markersize=5)
            ax.set(xscale="log", xlabel="training time (minutes)", title=title_of(dataset))
            ax.set_ylabel(f"negative test ELBO ({TASKS[dataset]['unit']})")
            ax.set_xticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
            ax.xaxis.set_minor_locator(NullLocator())
            scores = [point["score"] for points in ways.values() for point in points]
            low, high = min(scores), np.quantile(scores, 0.9)  # the first epochs of the slowest lie above
            ax.set_ylim(low - 0.05 * (high - low), high)
        names = figure.axes[0].get_legend_handles_labels()  # it has all the ways
        figure.legend(*names, loc="outside lower center", ncols=4)
        save_figure(figure, "time_to_quality")


if __name__ == "__main__":
    main()
