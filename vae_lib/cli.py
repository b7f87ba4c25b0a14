"""The command line: `python -m vae_lib train | evaluate | sample | encode | export | study | runs`.

`vl` imports what a command uses when it is used, so that `--help` and bad options are answered at once.
"""

import argparse
import contextlib
import dataclasses
import difflib
import os
import re
import sys
import time
import warnings
from pathlib import Path
from unicodedata import normalize

import vae_lib as vl
from vae_lib.config import EXPORT_FORMATS, STUDIES, TrainConfig
from vae_lib.utils.errors import DivergenceError, InputError
from vae_lib.utils.files import ensure_writable, safe_name
from vae_lib.utils.signals import Terminated


class _Parser(argparse.ArgumentParser):
    """Reports a bad option in one line, and takes no part of an option's name for the whole."""

    def __init__(self, **settings):
        super().__init__(allow_abbrev=False, **settings)

    def parse_args(self, args=None, namespace=None):
        """Refuse an unknown option, naming the one that it resembles most."""
        options, unknown = self.parse_known_args(args, namespace)
        if not unknown:
            return options
        asked = getattr(options, "parser", self)
        word = next((word for word in unknown if word.startswith("-")), unknown[0]).partition("=")[0]
        near = difflib.get_close_matches(word, asked._option_string_actions, 1, cutoff=0.65)
        meant = f": did you mean {near[0]}?" if near else ""
        asked.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")

    def error(self, message: str):
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: list[str] | None = None) -> int:
    """Run a command; return its exit code: 0, 1 for a run that diverged, 2 for bad input."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # not a stream of text
            stream.reconfigure(errors="replace")  # a terminal that has no ± shows a question mark
    options = make_parser().parse_args(list(map(_underscored, sys.argv[1:] if argv is None else argv)))
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _telling_once()
            code = options.command(options)
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # the reader of the output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as of a command that SIGPIPE ended
    except (InputError, DivergenceError) as error:
        return _fail(error, 2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        return _fail("interrupted: the same command resumes the run", 130)
    except Terminated:
        return _fail("terminated: the same command resumes the run", 143)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}; fix this and run the command again", 1)


def _telling_once():
    """Return what shows a warning, in one line; the same text is told once, however often it arises."""
    told = set()

    def show(message, *_, **__):
        text = f"vae_lib: warning: {' '.join(str(message).split())}"
        if text not in told:
            told.add(text)
            print(text, file=sys.stderr)

    return show


def _fail(message, code: int) -> int:
    print(f"vae_lib: error: {' '.join(str(message).split())}", file=sys.stderr)
    return code


def _underscored(argument: str) -> str:
    """Turn `--batch-size=64` into `--batch_size=64`, so that either spelling is understood."""
    return re.sub("(?<=^--)[^=]+", lambda name: name[0].replace("-", "_"), argument)


def _integer(low: int, high: int):
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be an integer from {low} to {high}; received {text!r}")
        return int(text)

    return parse


def _given(text: str) -> str:
    """Refuse an empty text, as of a shell's variable that is not set: it would be the working directory."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def _path(text: str) -> Path:
    return Path(os.path.expanduser(_given(text)))


def _shard(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not (slash and number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, such as 3/8; received {text!r}")
    return int(number), int(of)


def _option(text: str, default=None, metavar: str | None = "N", **settings) -> dict:
    """Return what argparse needs of an option; its default, if it has one, stands in the help text."""
    text = text if default is None else f"{text} [{default}]"
    return {"help": text, "default": default, "metavar": metavar, **settings}


def _flag(text: str) -> dict:
    return {"help": text, "action": "store_true"}


def _of_field(field) -> dict:
    """Return what argparse needs of a field of TrainConfig."""
    text, kind, choices = (field.metadata[name] for name in ("help", "kind", "choices"))
    metavar = None if choices else "NAME" if kind is str else "N"
    if kind is bool:
        return _flag(text)
    if kind is tuple:
        return _option(text, type=int, nargs="+")
    return _option(text, field.default, metavar, type=_given if kind is str else kind, choices=choices)


_FIELDS = {name: _of_field(field) for name, field in TrainConfig.__dataclass_fields__.items()}
_SHARED = ("epochs", "batch_size", "image_size", "n_train")  # by all cells of a study
_COUNT = _integer(1, 10_000)
_OPTIONS = {
    **_FIELDS,
    "run": _option("run directory, or its name", metavar=None, type=_given),
    "names": {"help": "names of runs; all if left out", "nargs": "*", "metavar": "NAME"},
    "remove": _flag("remove the runs of these names; their figures in images/ stay"),
    "data": _option("your own images: a folder, or an .npz, .npy or .csv file", metavar="PATH", type=_given),
    "preset": _option("which cells", "quick", None, choices=STUDIES),
    "seeds": _option("runs of each cell [3]", type=_COUNT),
    "jobs": _option("worker processes, each on one thread", 2, type=_COUNT),
    "shard": _option("only the I-th of N parts", "1/1", "I/N", type=_shard),
    "dry_run": _flag("say what is left to do and how long it takes"),
    "stand_ins": _flag("use embedded images where real ones are unavailable"),
    "num_samples": _option("images in each figure", 10, type=_COUNT),
    "quick": _flag("only the scores of the training's end, without a classifier"),
    "temperature": _option("standard deviation of z", 1.0, type=float),
    "draw": _flag("draw pixels from p(x|z) instead of its mean"),
    "label": _option("class to generate, by name or number", metavar="CLASS"),
    "format": _option("kinds of files", EXPORT_FORMATS, None, nargs="+", choices=EXPORT_FORMATS),
    "skip_bad": _flag("pass over images that cannot be read"),
    "name": _option("of the run directory, else made from config and data", metavar="NAME"),
    "fresh": _flag("discard an earlier run of the same name"),
    "threads": _option("processor threads; 0 uses all", 0, type=_integer(0, 1024)),
    "verbose": _option("1: bar, 2: line per epoch", 1, None, type=int, choices=(0, 1, 2)),
    "out": _option("folder for figures and scores [images/RUN]", metavar="PATH", type=_path),
    "data_dir": _option("where data sets are looked for first", "data", "PATH", type=_path),
    "models_dir": _option("where runs are kept", "models", "PATH", type=_path),
}
_SAMPLE_PRIOR = _option(
    "where z comes from: the model's prior, or a mixture of Gaussians fitted to the codes of each class "
    "[the one whose images are nearer to validation images]",
    choices=("model", "mixture"),
    metavar=None,
)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(prog="vae_lib", description="Train, evaluate and sample variational autoencoders.")
    parser.add_argument("--version", action="version", version=vl.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def add(function, text: str, *names, **changes) -> None:
        """Add a command; options in a tuple exclude each other, and `changes` overrides the table above."""
        command = commands.add_parser(function.__name__.strip("_"), help=text, description=text)
        command.set_defaults(command=function, parser=command)
        for name in (*names, "data_dir", "models_dir"):
            group = command.add_mutually_exclusive_group() if isinstance(name, tuple) else command
            for option in name if isinstance(name, tuple) else (name,):
                flag = option if option in ("run", "names") else f"--{option}"
                group.add_argument(flag, **_OPTIONS[option] | changes.get(option, {}))

    fields = [name for name in _FIELDS if name != "dataset"]
    text = "train a VAE; an unfinished run is resumed, a finished one is not trained twice"
    add(_train, text, ("dataset", "data"), *fields, "skip_bad", "name", "fresh", "threads", "verbose")
    moved = {"help": "where the run's images are now, if they were moved"}
    text = "score a run on the test images; write a table, a JSON file and figures"
    add(_evaluate, text, "run", "data", "num_samples", "quick", "skip_bad", "out", data=moved)
    names = ("run", "num_samples", "prior", "temperature", "draw", "label", "seed", "data", "skip_bad", "out")
    changes = {
        "data": moved,
        "prior": _SAMPLE_PRIOR,
        "num_samples": _option("images to generate", 16),
        "seed": _option("seed of the draws", 0),
    }
    changes["out"] = {"help": "folder for the images [images/RUN/samples]"}
    add(_sample, "generate images from the prior", *names, **changes)
    text = "write the codes of all images, z_mean and z_log_var, to codes.npz and codes.csv"
    out = {"help": "folder for codes.npz and codes.csv [images/RUN]"}
    add(_encode, text, "run", "data", "skip_bad", "out", data=moved, out=out)
    text = (
        "write encoder and decoder as files for other programs, each checked against the model on test images"
    )
    out = {"help": "folder for the files [images/RUN/export]"}
    add(_export, text, "run", "format", "data", "skip_bad", "out", data=moved, out=out)
    text = "train and score the cells of a study that are not done yet; write its table and figures"
    names = (("preset", "dataset", "data"), "latent_dim", "beta", "seeds", *_SHARED)
    changes = {name: {"default": None} for name in _SHARED}
    changes["dataset"] = _option("a data set to study in place of a preset", metavar="NAME")
    changes["latent_dim"] = _option("sizes of z, compared at the first beta [16]", nargs="+")
    changes["beta"] = _option("weights of the rate, compared at the last size [1.0]", nargs="+")
    changes["out"] = {"help": "folder for table and figures [images/study/NAME]"}
    changes["models_dir"] = _option("where runs are kept", "models/study", "PATH")
    add(_study, text, *names, "jobs", "shard", "dry_run", "stand_ins", "out", **changes)
    add(_runs, "list runs with their state, data and score, or remove some", "names", "remove")
    return parser


def _train(options) -> int:
    config = TrainConfig(**_chosen(options, _FIELDS) | {"dataset": _dataset(options)})
    data = _load(config.dataset, config, options)
    vl.start_tensorflow(options.threads)
    began = time.time()
    if options.verbose == 1 and not sys.stdout.isatty():
        options.verbose = 2  # a bar would fill a file with backspaces
    run = vl.train(config, data, **_chosen(options, ("models_dir", "name", "fresh", "verbose")))
    rows = vl.evaluation.training_scores(run.metrics, ["test"])
    _print_scores(vl.evaluation.score_table(rows), run.data["source"])
    if (run.directory / "metrics.json").stat().st_mtime < began:
        print("it was finished before, so nothing was trained: --fresh starts again")
    if config.beta == 0:
        print("beta 0: a plain autoencoder; the rate was not trained, so samples from the prior mean little")
    print(f"run: {run.directory}")
    return 0


def _evaluate(options) -> int:
    run, data, out = _run_and_images(options)
    models_dir = None if options.quick else options.models_dir
    table, left_out = vl.evaluation.write_report(run, data, out, options.num_samples, models_dir)
    _print_scores(table, data.source)
    for figure, reason in left_out.items():
        print(f"figure {figure} is left out: {reason}")
    print(f"figures and scores: {out}")
    return 0


def _sample(options) -> int:
    TrainConfig.check("seed", options.seed)
    if not 0 <= options.temperature < 1e3:
        raise InputError(f"temperature must lie between 0 and 1000; received {options.temperature}")
    run = _find(options)
    labels = _labels(run, options)
    out = options.out or Path("images") / run.name / "samples"
    ensure_writable(out)
    prior = _prior(run, options)
    settings = _chosen(options, ("seed", "temperature", "draw"))
    vl.evaluation.write_samples(run, out, options.num_samples, labels, prior=prior, **settings)
    print(f"{options.num_samples} images: {out}")
    return 0


def _prior(run, options) -> str:
    """Return the prior to sample from; fit the mixture first, if it is needed and not kept with the run."""
    if options.prior == "model":
        return "model"
    data = None
    if not run.has_mixture:
        try:
            data = _images_of(run, options)
        except InputError as error:
            if options.prior or (options.label is not None and not run.config.conditional):
                raise
            print(f"from the model's own prior, as no mixture is fitted yet: {error}")
            return "model"
        print(f"fitting the mixture prior of {run.name}, once", flush=True)
    vl.start_tensorflow()
    kept = run.mixture(data)
    needed = options.label is not None and not run.config.conditional
    prior = options.prior or ("mixture" if needed else kept.better)
    distances = ", ".join(f"{name} {distance:.3g}" for name, distance in kept.distances.items())
    print(f"prior: {prior} (Fréchet distances from validation images, in pixels: {distances})")
    return prior


def _encode(options) -> int:
    run, data, out = _run_and_images(options)
    counts = vl.evaluation.write_codes(run, data, out)
    print(f"codes of {counts} images of {data.source}: {out / 'codes.npz'} and codes.csv")
    return 0


def _export(options) -> int:
    run, data, out = _run_and_images(options)
    out = options.out or out / "export"
    x, y = data.images_and_labels("test")
    for name, difference in vl.apps.export_model(run, out, options.format, x, y).items():
        unit = "grey levels" if name.startswith("decoder") else "in z"
        print(f"{out / name}: differs from the model by at most {difference:.2g} {unit}")
    return 0


def _run_and_images(options):
    """Start TensorFlow; return a run, the data set that it was trained on, and the folder to write."""
    run = _find(options)
    data = _images_of(run, options)
    vl.start_tensorflow()
    return run, data, options.out or Path("images") / run.name


def _images_of(run, options):
    """Return the data set that a run was trained on."""
    config = run.config
    try:
        data = _load(options.data or config.dataset, config, options)
    except InputError as error:
        moved = "" if options.data else f"; if the images of {run.name} were moved, --data PATH finds them"
        raise InputError(f"{error}{moved}") from None
    run.check_data(data)
    return data


def _study(options) -> int:
    from concurrent.futures.process import BrokenProcessPool

    comparisons = _comparisons(options)
    vl.start_tensorflow(1)  # as in the workers, so that a classifier trained here is one of theirs
    configs = vl.study.shard(vl.study.unique_configs(comparisons), *options.shard)
    paths = vl.study.StudyPaths(str(options.data_dir), str(options.models_dir), options.stand_ins)
    if options.dry_run:
        print(vl.study.estimate(configs, paths, options.jobs))
        return 0
    own = options.data or options.dataset
    if own:  # one error, and not one a cell
        data = paths.load(vl.study.unique_configs(comparisons)[0])
        for config in configs:
            vl.training.check_fit(config, data)
    out = options.out or Path("images/study") / (safe_name(Path(own)) if own else options.preset)
    if not options.models_dir.is_dir():
        ensure_writable(options.models_dir, "--models_dir")
    ensure_writable(out)
    settings = {"evaluation": vl.study.STUDY_EVALUATION, "progress": True, **dataclasses.asdict(paths)}
    try:
        table = vl.run_study(configs, n_jobs=options.jobs, **settings)
    except BrokenProcessPool:
        return _fail("a worker was killed, perhaps for memory: run the command again with --jobs 1", 1)
    if options.shard == (1, 1):
        print(vl.study.write_report(table, comparisons, out))
    else:
        print("this part is done; when all are, the same command without --shard writes table and figures")
    return 0 if (table["status"] == "finished").all() else 1


def _runs(options) -> int:
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


def _comparisons(options) -> dict[str, list[TrainConfig]]:
    """Return what a study compares: a preset, or sizes and betas on the user's choice of data."""
    given = _chosen(options, ("latent_dim", "beta", "seeds", *_SHARED))
    given = {name: value for name, value in given.items() if value is not None}
    if options.data is None and options.dataset is None:
        if given:
            raise InputError(f"--{next(iter(given))} needs --data or --dataset: a preset has its own")
        return vl.study.preset_comparisons(options.preset)
    sizes, betas = (given.pop(name, [_FIELDS[name]["default"]]) for name in ("latent_dim", "beta"))
    n_seeds = given.pop("seeds", 3)
    return vl.study.sweep(TrainConfig(dataset=_dataset(options), **given), sizes, betas, n_seeds)


def _labels(run, options) -> list[int] | None:
    """Return the labels of samples: one class, or all in turn; None for an unconditional model."""
    n_classes, names = run.data["n_classes"], run.data.get("class_names", [])
    label, n = options.label, options.num_samples
    if not run.config.conditional:
        if label is None:
            return None
        if n_classes < 2 or options.prior == "model":
            remedy = "train with --conditional" + (" or take --prior mixture" if n_classes > 1 else "")
            raise InputError(f"--label needs a conditional model; {run.name} was trained without: {remedy}")
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


def _dataset(options) -> str:
    """Return what to train on, in one spelling: it is part of the run's name.

    That of a path is relative to the working directory if it lies inside, with `./` before one that is spelt
    like a known name.
    """
    given = options.dataset if options.data is None else options.data
    path = os.path.abspath(os.path.expanduser(given))
    name = vl.data.known_name(given)
    if name and (options.data is None or not os.path.exists(path)):
        return name
    inside = os.path.commonpath([path, os.getcwd()]) == os.getcwd() and os.path.exists(path)
    path = os.path.relpath(path) if inside else path if os.path.exists(path) else given
    return f"./{path}" if vl.data.known_name(path) else path


def _load(dataset: str, config: TrainConfig, options):
    settings = {"image_size": config.image_size, "skip_bad": options.skip_bad}
    return vl.load_dataset(dataset, options.data_dir, **settings)


def _chosen(options, names) -> dict:
    return {name: getattr(options, name) for name in names}


def _find(options):
    """Return the run of that path or name; another folder of the name is none."""
    paths = options.models_dir / options.run, Path(options.run)
    found = [path for path in paths if os.path.isfile(path / "config.json")]
    return vl.load_run(found[0] if found else paths[len(Path(options.run).parts) > 1])


def _print_scores(table, source: str) -> None:
    seeds = "; ± is a 95 % interval over evaluation seeds" if table["half_width"].notna().any() else ""
    print(f"test images of {source}{seeds}\n\n{vl.evaluation.as_text(table)}\n")
