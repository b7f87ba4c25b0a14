"""`vae_lib train`: train a VAE, or go on with an unfinished run."""

import sys
import time

import vae_lib as vl
from vae_lib.cli.evaluate import print_scores
from vae_lib.cli.inputs import dataset_name, load_images
from vae_lib.cli.parser import FIELDS, add_command, chosen
from vae_lib.config import TrainConfig


def add(commands) -> None:
    """Add the command to the program's."""
    fields = [name for name in FIELDS if name != "dataset"]
    text = "train a VAE; an unfinished run is resumed, a finished one is not trained twice"
    names = (("dataset", "data"), *fields, "skip_bad", "name", "fresh", "threads", "verbose")
    add_command(commands, train, text, *names)


def train(options) -> int:
    """Run the command; return its exit code."""
    config = TrainConfig(**chosen(options, FIELDS) | {"dataset": dataset_name(options)})
    data = load_images(config.dataset, config, options)
    vl.start_tensorflow(options.threads)
    began = time.time()
    if options.verbose == 1 and not sys.stdout.isatty():
        options.verbose = 2  # a bar would fill a file with backspaces
    run = vl.train(config, data, **chosen(options, ("models_dir", "name", "fresh", "verbose")))
    rows = vl.evaluation.training_scores(run.metrics, ["test"])
    print_scores(vl.evaluation.score_table(rows), run.data["source"])
    if (run.directory / "metrics.json").stat().st_mtime < began:
        print("it was finished before, so nothing was trained: --fresh starts again")
    if config.beta == 0:
        print("beta 0: a plain autoencoder; the rate was not trained, so samples from the prior mean little")
    print(f"run: {run.directory}")
    return 0
