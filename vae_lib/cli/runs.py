"""`vae_lib runs`: list runs, or remove some."""

import time

import vae_lib as vl
from vae_lib.cli.parser import add_command
from vae_lib.utils.errors import InputError


def add(commands) -> None:
    """Add the command to the program's."""
    text = "list runs with their state, data and score, or remove some"
    add_command(commands, runs, text, "names", "remove")


def runs(options) -> int:
    """Run the command; return its exit code."""
    runs = [vl.training.find_run(name, options.models_dir) for name in options.names]
    if options.remove:
        if not runs:
            raise InputError("--remove needs the NAME of a run: `runs` alone lists them")
        for run in runs:
            others = vl.training.remove_run(run)
            kept = f"; its folder stays, with {', '.join(others)}" if others else ""
            print(f"removed run: {run.directory}{kept}")
        return 0
    runs = runs or vl.training.list_runs(options.models_dir)
    for run in runs:
        print(_described(run))
    print(f"{options.models_dir}: {len(runs)} runs, {sum(run.bytes for run in runs) / 1e6:,.1f} MB")
    for folder in () if options.names else sorted(options.models_dir.iterdir()):
        if folder.is_dir() and (inside := vl.training.list_runs(folder)):
            print(f"{len(inside)} more: --models_dir {folder}")
    return 0


def _described(run) -> str:
    """Return a run in two lines: its state, score and epochs; and its data, options, date and size."""
    state, when = run.state, time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed))
    place = f"{when}, {run.bytes / 1e6:,.1f} MB"
    if state == "damaged":
        return f"{run.name}: damaged: train it with --fresh, or remove it\n    {place}"
    config, source, scores = run.config, run.data["source"], run.metrics if run.is_done else {}
    elbo, bits = scores.get("elbo_test"), scores.get("bits_per_dim_test")
    score = f"ELBO {elbo:,.1f} nats on test, " if elbo is not None else ""
    score = f"{bits:.3f} bits/dim on test, " if bits is not None else score
    options = f"{config.latent_dim} latents, beta {config.beta:g}, {config.network}"
    first = f"{run.name}: {state}, {score}{run.epochs_done} of {config.epochs} epochs"
    return f"{first}\n    {config.dataset} ({source}); {options}; {place}"
