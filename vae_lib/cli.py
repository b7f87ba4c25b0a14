"""The command line: `python -m vae_lib train | evaluate | sample | encode | study`.

TensorFlow is imported inside the commands, so that `--help` and bad options are answered at once.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

from vae_lib.config import CHOICES, STUDIES, TrainConfig
from vae_lib.utils.errors import InputError
from vae_lib.utils.runtime import start_tensorflow
from vae_lib.utils.signals import Terminated

MAX_THREADS = 1024
_SHARED = ("epochs", "batch_size", "image_size", "n_train")  # by all cells of a study of one's own
_DEFAULTS = TrainConfig()


class _Parser(argparse.ArgumentParser):
    """Reports a bad option in one line."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: list[str] | None = None) -> int:
    """Run a command; return its exit code: 0, 1 for a run that diverged, 2 for bad input."""
    arguments = [_underscored(argument) for argument in (sys.argv[1:] if argv is None else argv)]
    options = make_parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"vae_lib: warning: {message}", file=sys.stderr)
            return options.command(options)
    except InputError as error:
        return _fail(error, 2)
    except KeyboardInterrupt:
        return _fail("interrupted: the same command resumes the run", 130)
    except Terminated:
        return _fail("terminated: the same command resumes the run", 143)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}; mend that and give the same command again", 1)


def _fail(message, code: int) -> int:
    print(f"vae_lib: error: {' '.join(str(message).split())}", file=sys.stderr)
    return code


def _underscored(argument: str) -> str:
    """Turn `--batch-size=64` into `--batch_size=64`, so that either spelling is understood."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(prog="vae_lib", description="Train, evaluate and sample variational autoencoders.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _add_train(commands)
    _add_evaluate(commands)
    _add_sample(commands)
    _add_encode(commands)
    _add_study(commands)
    return parser


def _add_train(commands) -> None:
    train = commands.add_parser(
        "train",
        help="train a VAE; an unfinished run is resumed, a finished one is not trained twice",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    source = train.add_mutually_exclusive_group()
    source.add_argument(
        "--dataset",
        default=_DEFAULTS.dataset,
        help="mnist, fashion_mnist, cifar10, digits, sprites or color_sprites",
    )
    source.add_argument("--data", metavar="PATH", help="a folder of images of your own, or an .npz file")
    for name, kind, text in (
        ("latent_dim", int, "size of z"),
        ("beta", float, "weight of the rate (KL); 0 gives a plain autoencoder"),
        ("epochs", int, "passes over the training images"),
        ("batch_size", int, "images per step"),
        ("learning_rate", float, "peak of the cosine schedule"),
        ("weight_decay", float, "of AdamW; more for long trainings"),
        ("anneal_epochs", float, "epochs until beta is reached, or length of a cycle"),
        ("width", int, "channels of the first convolution"),
        ("dense_units", int, "units of the dense layers"),
        ("image_size", int, "resize and crop images to this side"),
        ("n_train", int, "train on the first n images"),
        ("seed", int, "of weights, order and noise"),
    ):
        train.add_argument(f"--{name}", type=kind, default=getattr(_DEFAULTS, name), metavar="N", help=text)
    for name, text in (
        ("likelihood", "p(x|z)"),
        ("prior", "p(z): N(0, I), or a flow that is learned"),
        ("network", "encoder and decoder"),
        ("annealing", "of beta"),
    ):
        train.add_argument(f"--{name}", choices=CHOICES[name], default=getattr(_DEFAULTS, name), help=text)
    train.add_argument("--conditional", action="store_true", help="give the model the labels")
    train.add_argument("--binarize", action="store_true", help="draw binary pixels (likelihood bernoulli)")
    train.add_argument("--skip_bad", action="store_true", help="pass over images that cannot be read")
    train.add_argument("--name", help="of the run directory; made from the config if not given")
    train.add_argument("--fresh", action="store_true", help="discard an earlier run of the same name")
    train.add_argument("--threads", type=int, default=0, help="processor threads; 0 takes all")
    train.add_argument("--verbose", type=int, choices=(0, 1, 2), default=1, help="1: bar, 2: line per epoch")
    _add_places(train)
    train.set_defaults(command=_train)


def _add_evaluate(commands) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="score a run on the test images; write a table, a JSON file and figures",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    evaluate.add_argument("run", help="run directory, or its name")
    evaluate.add_argument("--num_samples", type=_positive, default=10, help="images in each figure")
    evaluate.add_argument(
        "--quick",
        action="store_true",
        help="only the scores of the training's end: no classifier, no scores of samples",
    )
    evaluate.add_argument("--skip_bad", action="store_true", help="pass over images that cannot be read")
    evaluate.add_argument("--out", type=Path, help="folder for figures and JSON [images/RUN]")
    _add_places(evaluate)
    evaluate.set_defaults(command=_evaluate)


def _add_sample(commands) -> None:
    sample = commands.add_parser(
        "sample",
        help="generate images from the prior",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    sample.add_argument("run", help="run directory, or its name")
    sample.add_argument("--num_samples", type=_positive, default=16, help="images to generate")
    sample.add_argument("--temperature", type=float, default=1.0, help="standard deviation of z")
    sample.add_argument("--draw", action="store_true", help="draw pixels from p(x|z) in place of its mean")
    sample.add_argument("--label", help="class to generate, by name or number, for a conditional model")
    sample.add_argument("--seed", type=_seed, default=0, help="of the draws")
    sample.add_argument("--out", type=Path, help="folder for the images [images/RUN/samples]")
    _add_places(sample)
    sample.set_defaults(command=_sample)


def _add_encode(commands) -> None:
    encode = commands.add_parser(
        "encode",
        help="write the codes of all images, z_mean and z_log_var, to an .npz file",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    encode.add_argument("run", help="run directory, or its name")
    encode.add_argument("--skip_bad", action="store_true", help="pass over images that cannot be read")
    encode.add_argument("--out", type=Path, help="folder for codes.npz [images/RUN]")
    _add_places(encode)
    encode.set_defaults(command=_encode)


def _add_study(commands) -> None:
    study = commands.add_parser(
        "study",
        help="train and score every cell of a study that is not done yet; write its table and figures",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    cells = study.add_mutually_exclusive_group()
    cells.add_argument("--preset", choices=STUDIES, default="quick", help="which cells")
    cells.add_argument("--dataset", help="a data set by name, for a study of your own")
    cells.add_argument("--data", metavar="PATH", help="a folder of images of your own, or an .npz file")
    for name, kind, text in (
        ("latent_dim", int, "sizes of z, compared at the first beta"),
        ("beta", float, "weights of the rate, compared at the last size"),
    ):
        default = [getattr(_DEFAULTS, name)]
        study.add_argument(f"--{name}", type=kind, nargs="+", metavar="N", help=f"{text} {default}")
    study.add_argument("--seeds", type=_positive, metavar="N", help="runs of each cell [3]")
    for name in _SHARED:
        default = getattr(_DEFAULTS, name)
        study.add_argument(f"--{name}", type=int, metavar="N", help=f"as for train [{default}]")
    study.add_argument("--jobs", type=_positive, default=2, help="worker processes, each on one thread")
    study.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="only the I-th of N parts")
    study.add_argument("--dry_run", action="store_true", help="say what is left to do and how long it takes")
    study.add_argument("--stand_ins", action="store_true", help="take embedded images where real ones lack")
    study.add_argument("--out", type=Path, help="folder for table and figures [images/study/NAME]")
    _add_places(study)
    study.set_defaults(command=_study, models_dir=Path("models/study"))


def _add_places(parser) -> None:
    parser.add_argument(
        "--data_dir", type=Path, default=Path("data"), help="where data sets are looked for first"
    )
    parser.add_argument("--models_dir", type=Path, default=Path("models"), help="where runs are kept")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"must be an integer from 1 to 10000; received {text!r}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to {2**31 - 1}; received {text!r}")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not (slash and number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, such as 3/8; received {text!r}")
    return int(number), int(of)


def _train(options) -> int:
    fields = {name: getattr(options, name, None) for name in _DEFAULTS.to_dict()}
    config = TrainConfig(**{**fields, "dataset": _dataset(options)})
    if not 0 <= options.threads <= MAX_THREADS:
        raise InputError(f"threads must be from 0 to {MAX_THREADS}; received {options.threads}")
    data = _load(config, options)
    start_tensorflow(options.threads)
    from vae_lib.training.trainer import DivergenceError, train

    began = time.time()
    try:
        run = train(
            config,
            data,
            models_dir=options.models_dir,
            name=options.name,
            fresh=options.fresh,
            verbose=options.verbose,
        )
    except DivergenceError as error:
        return _fail(error, 1)
    print(_table(run.metrics, run.data["source"]))
    if (run.directory / "metrics.json").stat().st_mtime < began:
        print("it was finished before, and nothing was trained now: --fresh starts anew")
    if config.beta == 0:
        print("beta 0: a plain autoencoder; the rate was not trained, so samples from the prior mean little")
    print(f"run: {run.directory}")
    return 0


def _evaluate(options) -> int:
    run = _find(options)
    data = _images_of(run, options)
    out = options.out or Path("images") / run.name
    start_tensorflow()
    from vae_lib.evaluation.metric_table import as_text
    from vae_lib.evaluation.report import make_report

    models_dir = None if options.quick else options.models_dir
    scores, table = make_report(run, data, out, options.num_samples, models_dir)
    if table is None:
        print(_table(scores, data.source))
    else:
        print(
            f"test images of {data.source}; ± is a 95 % interval over evaluation seeds\n\n{as_text(table)}\n"
        )
    print(f"figures and evaluation.json: {out}")
    return 0


def _sample(options) -> int:
    if not 0 <= options.temperature < 1e3:
        raise InputError(f"temperature must lie between 0 and 1000; received {options.temperature}")
    run = _find(options)
    labels = _labels(run, options.label, options.num_samples)
    out = options.out or Path("images") / run.name / "samples"
    start_tensorflow()
    from vae_lib.evaluation.report import write_samples

    write_samples(run, out, options.num_samples, labels, options.seed, options.temperature, options.draw)
    print(f"{options.num_samples} images: {out}")
    return 0


def _encode(options) -> int:
    run = _find(options)
    data = _images_of(run, options)
    out = options.out or Path("images") / run.name
    start_tensorflow()
    from vae_lib.evaluation.report import write_codes

    counts = write_codes(run, data, out)
    print(f"codes of {counts} images of {data.source}: {out / 'codes.npz'}")
    return 0


def _images_of(run, options):
    """Return the data set that a run was trained on, its test images included."""
    data = _load(run.config, options)
    if data.subset(n_train=run.config.n_train).fingerprint() != run.data["fingerprint"]:
        raise InputError(
            f"the images of {run.config.dataset!r} ({data.source}) are not those that {run.name} was trained "
            f"on ({run.data['source']}): put those back, or train anew"
        )
    return data


def _study(options) -> int:
    from concurrent.futures.process import BrokenProcessPool

    from vae_lib.study.grids import STUDY_EVALUATION, shard, unique_configs
    from vae_lib.study.runner import StudyPaths, run_study

    studied = _comparisons(options)
    start_tensorflow(1)  # as in the workers, so that a classifier trained here is one of theirs
    configs = shard(unique_configs(studied), *options.shard)
    if options.dry_run:
        from vae_lib.study.estimate import as_text, seconds_of

        places = StudyPaths(str(options.data_dir), str(options.models_dir), options.stand_ins)
        print(as_text(configs, seconds_of(configs, places, _tell), options.jobs))
        return 0
    from vae_lib.evaluation.report import ensure_writable
    from vae_lib.study.report import write_report
    from vae_lib.utils.files import safe_name

    own = options.data or options.dataset
    if own:  # one error, and not one a cell
        first = unique_configs(studied)[0]
        StudyPaths(str(options.data_dir), "", options.stand_ins).load(first.dataset, first.image_size)
    out = options.out or Path("images/study") / (safe_name(Path(own)) if own else options.preset)
    ensure_writable(out)
    places = {"data_dir": options.data_dir, "models_dir": options.models_dir, "stand_ins": options.stand_ins}
    try:
        table = run_study(configs, n_jobs=options.jobs, protocol=STUDY_EVALUATION, tell=_tell, **places)
    except BrokenProcessPool:
        return _fail("a worker was killed, perhaps for memory: the same command goes on; try --jobs 1", 1)
    if options.shard == (1, 1):
        print(write_report(table, studied, out))
    else:
        print("this part is done; when all are, the same command without --shard writes table and figures")
    return 0 if (table["status"] == "finished").all() else 1


def _comparisons(options) -> dict[str, list[TrainConfig]]:
    """Return what a study compares: a preset, or sizes and betas of one's own."""
    from vae_lib.study.grids import comparisons, sweep

    names = ("latent_dim", "beta", "seeds", *_SHARED)
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.data is None and options.dataset is None:
        if given:
            raise InputError(f"--{next(iter(given))} needs --data or --dataset: a preset has its own")
        return comparisons(options.preset)
    sizes, betas = (given.pop(name, [getattr(_DEFAULTS, name)]) for name in ("latent_dim", "beta"))
    n_seeds = given.pop("seeds", 3)
    return sweep(TrainConfig(dataset=_dataset(options), **given), sizes, betas, n_seeds)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _labels(run, label: str | None, n: int) -> list[int] | None:
    """Return the labels of n samples: one class, or all in turn; None for an unconditional model."""
    n_classes, names = run.data["n_classes"], run.data.get("class_names", [])
    if not run.config.conditional:
        if label is not None:
            raise InputError(f"--label needs a conditional model; {run.name} was trained without labels")
        return None
    if label is None:
        return [i % n_classes for i in range(n)]
    if label in names:
        return n * [names.index(label)]
    if not label.isascii() or not label.isdigit() or int(label) >= n_classes:
        known = f", or one of {', '.join(names)}" if names else ""
        raise InputError(f"--label must be from 0 to {n_classes - 1}{known}; received {label}")
    return n * [int(label)]


def _dataset(options) -> str:
    """Return what to train on: a name, or a path, even one that is spelt like a name."""
    from vae_lib.data.loading import known_name

    if options.data is None:
        return options.dataset
    mistakable = known_name(options.data) and Path(options.data).exists()
    return f"./{options.data}" if mistakable else options.data


def _load(config: TrainConfig, options):
    from vae_lib.data.loading import load_dataset

    return load_dataset(
        config.dataset, options.data_dir, image_size=config.image_size, skip_bad=options.skip_bad
    )


def _find(options):
    from vae_lib.training.run import load_run

    path = Path(options.run)
    return load_run(path if path.is_dir() or len(path.parts) > 1 else options.models_dir / path)


_SCORES = ("elbo", "elbo_standard_error", "distortion", "rate", "bits_per_dim", "mse", "psnr")


def _table(scores: dict, source: str) -> str:
    """Return the test scores as lines with units and what is better."""
    from vae_lib.evaluation.metric_table import HIGHER, LOWER, MEASURES, as_number

    lines = [f"{scores['test_n']:,} test images of {source}"]
    for name in _SCORES:
        if f"test_{name}" in scores:
            unit, better = MEASURES[name]
            arrow = {HIGHER: "  (higher is better)", LOWER: "  (lower is better)"}.get(better, "")
            lines.append(f"  {name:<20}{as_number(scores[f'test_{name}']):>12}  {unit}{arrow}")
    return "\n".join(lines)
