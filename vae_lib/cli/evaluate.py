"""`vae_lib evaluate`: score a run on the test images."""

import vae_lib as vl
from vae_lib.cli.inputs import MOVED, run_and_images
from vae_lib.cli.parser import add_command


def add(commands) -> None:
    """Add the command to the program's."""
    text = "score a run on the test images; write a table, a JSON file and figures"
    names = ("run", "data", "num_samples", "quick", "skip_bad", "out")
    add_command(commands, evaluate, text, *names, data=MOVED)


def evaluate(options) -> int:
    """Run the command; return its exit code."""
    run, data, out = run_and_images(options)
    models_dir = None if options.quick else options.models_dir
    table, left_out = vl.evaluation.write_report(run, data, out, options.num_samples, models_dir)
    print_scores(table, data.source)
    for figure, reason in left_out.items():
        print(f"figure {figure} is left out: {reason}")
    print(f"figures and scores: {out}")
    return 0


def print_scores(table, source: str) -> None:
    """Print a score table, with the data that it was measured on."""
    seeds = "; ± is a 95 % interval over evaluation seeds" if table["half_width"].notna().any() else ""
    print(f"test images of {source}{seeds}\n\n{vl.evaluation.as_text(table)}\n")
