"""`vae_lib sample`: generate images from the prior."""

import math
from pathlib import Path
from unicodedata import normalize

import vae_lib as vl
from vae_lib.cli.inputs import MOVED, find_run, images_of
from vae_lib.cli.parser import add_command, chosen, option
from vae_lib.config import TrainConfig
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import ensure_writable, safe_name


def add(commands) -> None:
    """Add the command to the program's."""
    prior = option(
        "where z comes from: the model's prior, or a mixture of Gaussians fitted to the codes of each class "
        "[the one whose images are nearer to validation images]",
        choices=("model", "mixture"),
        metavar=None,
    )
    changes = {
        "data": MOVED,
        "prior": prior,
        "num_samples": option("images to generate", 16),
        "seed": option("seed of the draws", 0),
        "out": {"help": "folder for the images [images/RUN/samples, or samples-LABEL]"},
    }
    names = ("run", "num_samples", "prior", "temperature", "draw", "label", "seed", "data", "skip_bad", "out")
    add_command(commands, sample, "generate images from the prior", *names, **changes)


def sample(options) -> int:
    """Run the command; return its exit code."""
    TrainConfig.check("seed", options.seed)
    if not 0 <= options.temperature < 1e3:
        raise InputError(f"temperature must lie between 0 and 1000; received {options.temperature}")
    run = find_run(options)
    labels = _labels(run, options)
    kind = "samples" if options.label is None else f"samples-{safe_name(Path(options.label))}"
    out = options.out or Path("images") / run.name / kind
    ensure_writable(out)
    prior = _prior(run, options)
    settings = chosen(options, ("seed", "temperature", "draw"))
    vl.evaluation.write_samples(run, out, options.num_samples, labels, prior=prior, **settings)
    print(f"{options.num_samples} images: {out}")
    return 0


def _prior(run, options) -> str:
    """Return the prior to sample from; fit the mixture first, if it is needed and not kept with the run."""
    data = images_of(run, options) if options.data else None
    if options.prior == "model":
        return "model"
    if data is None and not run.has_mixture:
        try:
            data = images_of(run, options)
        except InputError as error:
            if options.prior or (options.label is not None and not run.config.conditional):
                raise
            print(f"from the model's own prior, as no mixture is fitted yet: {error}")
            return "model"
    if not run.has_mixture:
        print(f"fitting the mixture prior of {run.name}, once", flush=True)
    vl.start_tensorflow()
    kept = run.mixture(data)
    needed = options.label is not None and not run.config.conditional
    prior = options.prior or ("mixture" if needed else kept.better)
    distances = ", ".join(f"{name} {distance:.3g}" for name, distance in kept.distances.items())
    judged = f"Fréchet distances from validation images, in pixels: {distances}"
    if math.isnan(kept.distances["model"]):
        judged = "one validation image is too few to choose by"
    why = "; the model's own has no classes" if needed and not options.prior else ""
    print(f"prior: {prior} ({judged}{why})")
    return prior


def _labels(run, options) -> list[int] | None:
    """Return the labels of samples: one class, or all in turn; None for an unconditional model."""
    n_classes, names = run.data["n_classes"], run.data.get("class_names", [])
    label, n = options.label, options.num_samples
    if not run.config.conditional:
        if label is None:
            return None
        if n_classes < 2:
            raise InputError(f"--label needs classes; the images of {run.name} have none: leave it out")
        if options.prior == "model":
            raise InputError(
                f"--label needs a conditional model; {run.name} was trained without: train with "
                "--conditional or take --prior mixture"
            )
    if label is None:
        return [i % n_classes for i in range(n)]
    numbered = bool(names) and all(map(str.isdecimal, names))  # then 3 is a name, and not a position
    labels = {} if numbered else {str(i): i for i in range(n_classes)}
    labels |= {normalize("NFC", name): i for i, name in enumerate(names)}
    index = labels.get(normalize("NFC", label))
    if index is None:
        known = [f"from 0 to {n_classes - 1}"] * (not numbered) + [f"one of {', '.join(names)}"] * bool(names)
        raise InputError(f"--label must be {', or '.join(known)}; received {label}")
    return n * [index]
