"""Wall time to a given test ELBO: `vae_lib` against the Keras example's recipe and pythae's trainer.

The recipe (its architecture, Adam 1e-3, no schedule, batches of 128) is scored after each of its epochs; the
clock stands still meanwhile. `vae_lib` is trained to its end for several numbers of epochs, since its
schedule ends with the run: flat, and with latents on several scales. All use the same training images and are
scored by the same one-sample ELBO on all test images. Run it from the project's root, on an otherwise idle
machine; it takes an hour:

    python benchmarks/time_to_quality.py
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import contenders
import numpy as np

from vae_lib.data.loading import load_dataset
from vae_lib.utils.runtime import start_tensorflow

TASKS = {
    "fashion_mnist": {
        "latent_dim": 16, "likelihood": "bernoulli", "epochs": 30, "ours": (1, 2, 3, 5), "scales": (1, 3, 7),
    },
    "cifar10": {
        "latent_dim": 128, "likelihood": "discretized_logistic", "epochs": 10, "ours": (1, 2, 3, 8),
        "scales": (1, 3, 7),
    },
}  # fmt: skip
MINUTES = (2, 5, 10)
OURS = ("vae_lib", "hierarchical")
PYTHAE_EPOCHS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=TASKS, default="fashion_mnist")
    parser.add_argument("--out", type=Path, default=Path("build/time_to_quality"))
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        return WAYS[options.way](options.dataset)
    options.out.mkdir(parents=True, exist_ok=True)
    curves = {}
    for way in WAYS:
        if way == "pythae" and options.dataset != "fashion_mnist":
            continue
        path = options.out / f"{options.dataset}-{way}.jsonl"
        if not path.exists():
            command = [sys.executable, __file__, "--dataset", options.dataset, "--way", way]
            quiet = {**os.environ, "TQDM_DISABLE": "1"}
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=quiet)
            path.write_text(done.stdout)
        curves[way] = [json.loads(line) for line in path.read_text().splitlines()]
    report(options.dataset, curves)
    draw(options.dataset, curves, options.out)
    return None


def tell(epochs: int, seconds: float, score: float) -> None:
    print(json.dumps({"epochs": epochs, "seconds": round(seconds, 1), "score": round(score, 4)}), flush=True)


def recipe(dataset: str) -> None:
    start_tensorflow()
    task, data = TASKS[dataset], load_dataset(dataset)
    epoch, model = contenders.keras_fit(data.x_train, task["latent_dim"], task["likelihood"])
    seconds = 0.0
    for i in range(task["epochs"]):
        began = time.perf_counter()
        epoch()
        seconds += time.perf_counter() - began
        tell(i + 1, seconds, score_of(task, data.x_test, model.encoder, model.decoder))


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

    seconds = 0.0
    for i in range(PYTHAE_EPOCHS):
        began = time.perf_counter()
        epoch()
        seconds += time.perf_counter() - began
        model.eval()
        tell(i + 1, seconds, score_of(task, data.x_test, encode, decode))


def flat(dataset: str) -> None:
    ours(dataset, TASKS[dataset]["ours"])


def hierarchical(dataset: str) -> None:
    ours(dataset, TASKS[dataset]["scales"], network="hierarchical", batch_size=32)


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


WAYS = {"recipe": recipe, "pythae": pythae, "vae_lib": flat, "hierarchical": hierarchical}


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
    unit = "nats" if TASKS[dataset]["likelihood"] == "bernoulli" else "bits/dim"
    for way, points in curves.items():
        last = points[-1]
        epochs = np.diff([0.0, *(point["seconds"] for point in points)])
        pace = "" if way in OURS else f", {np.median(epochs):.1f} s an epoch in the median"
        score = f"{last['score']:.3f} {unit} after {last['epochs']} epochs"
        print(f"{way}: {score}, {last['seconds']:,.0f} s{pace}")
    print(f"best {unit} after " + ", ".join(f"{minutes} min" for minutes in MINUTES))
    for way, points in curves.items():
        best = (
            min((p["score"] for p in points if p["seconds"] <= 60 * m), default=float("nan")) for m in MINUTES
        )
        print(f"  {way:<14}" + "".join(f"{score:>10.3f}" for score in best))
    for rival in curves.keys() - set(OURS):
        for epochs in sorted({10, len(curves[rival])} & {point["epochs"] for point in curves[rival]}):
            goal = curves[rival][epochs - 1]
            there = [point for point in curves["vae_lib"] if point["score"] <= goal["score"]]
            mine = f"{there[0]['seconds']:,.0f} s ({there[0]['epochs']} epochs)" if there else "not reached"
            share = f", 1/{goal['seconds'] / there[0]['seconds']:.1f} of the time" if there else ""
            target = f"{rival}'s {goal['score']:.3f} {unit} after {epochs} epochs, {goal['seconds']:,.0f} s"
            print(f"{target}: vae_lib {mine}{share}")


def draw(dataset: str, curves: dict, out: Path) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    from vae_lib.plots.save import save_figure
    from vae_lib.plots.style import axes_or_new, figure_style

    with figure_style():
        ax = axes_or_new(None, 6.4, 4.2)
        for way, points in curves.items():
            seconds, scores = ([point[key] for point in points] for key in ("seconds", "score"))
            ax.plot(seconds, scores, "o-" if way in OURS else ".-", label=way, markersize=4)
        unit = "nats per image" if TASKS[dataset]["likelihood"] == "bernoulli" else "bits per dimension"
        ax.set(xscale="log", xlabel="training time (s)", ylabel=f"negative test ELBO ({unit})")
        ax.set_title(f"{dataset}: quality against training time")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(NullLocator())
        scores = [point["score"] for points in curves.values() for point in points]
        ax.set_ylim(min(scores) * 0.998, np.quantile(scores, 0.9))
        ax.legend()
        save_figure(ax.figure, f"time_to_quality_{dataset}", directory=out)


if __name__ == "__main__":
    main()
