"""The options of all commands: their names, help texts, types and defaults, and how they are parsed."""

import argparse
import difflib
import os
import re
from pathlib import Path

from vae_lib.config import EXPORT_FORMATS, STUDIES, TrainConfig


class Parser(argparse.ArgumentParser):
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
        """End the program with one line and exit code 2."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def underscored(argument: str) -> str:
    """Turn `--batch-size=64` into `--batch_size=64`, so that either spelling is understood."""
    return re.sub("(?<=^--)[^=]+", lambda name: name[0].replace("-", "_"), argument)


def integer(low: int, high: int):
    """Return the type of integers from low to high."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be an integer from {low} to {high}; received {text!r}")
        return int(text)

    return parse


def given(text: str) -> str:
    """Refuse an empty text, as of a shell's variable that is not set: it would be the working directory."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def path(text: str) -> Path:
    """Read a path; ~ is the home folder."""
    return Path(os.path.expanduser(given(text)))


def shard(text: str) -> tuple[int, int]:
    """Read I/N: the I-th of N parts."""
    number, slash, of = text.partition("/")
    if not (slash and number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, such as 3/8; received {text!r}")
    return int(number), int(of)


def option(text: str, default=None, metavar: str | None = "N", **settings) -> dict:
    """Return what argparse needs of an option; its default, if it has one, stands in the help text."""
    text = text if default is None else f"{text} [{default}]"
    return {"help": text, "default": default, "metavar": metavar, **settings}


def flag(text: str) -> dict:
    """Return what argparse needs of an option that is given or not."""
    return {"help": text, "action": "store_true"}


def of_field(field) -> dict:
    """Return what argparse needs of a field of TrainConfig."""
    text, kind, choices = (field.metadata[name] for name in ("help", "kind", "choices"))
    metavar = None if choices else "NAME" if kind is str else "N"
    if kind is bool:
        return flag(text)
    if kind is tuple:
        return option(text, type=int, nargs="+")
    return option(text, field.default, metavar, type=given if kind is str else kind, choices=choices)


FIELDS = {name: of_field(field) for name, field in TrainConfig.__dataclass_fields__.items()}
COUNT = integer(1, 10_000)
OPTIONS = {
    **FIELDS,
    "run": option("run directory, or its name", metavar=None, type=given),
    "names": {"help": "names of runs; all if left out", "nargs": "*", "metavar": "NAME"},
    "remove": flag("remove the runs of these names; their figures in images/ stay"),
    "data": option("your own images: a folder, or an .npz, .npy or .csv file", metavar="PATH", type=given),
    "preset": option("which cells", "quick", None, choices=STUDIES),
    "seeds": option("runs of each cell [3]", type=COUNT),
    "jobs": option("worker processes, each on one thread", 2, type=COUNT),
    "shard": option("only the I-th of N parts", "1/1", "I/N", type=shard),
    "dry_run": flag("say what is left to do and how long it takes"),
    "stand_ins": flag("use embedded images where real ones are unavailable"),
    "num_samples": option("images in each figure", 10, type=COUNT),
    "quick": flag("only the scores of the training's end, without a classifier"),
    "temperature": option("scale of the noise of z", 1.0, type=float),
    "draw": flag("draw pixels from p(x|z) instead of its mean"),
    "label": option("class to generate, by name or number", metavar="CLASS"),
    "format": option("kinds of files", EXPORT_FORMATS, None, nargs="+", choices=EXPORT_FORMATS),
    "skip_bad": flag("pass over images that cannot be read"),
    "name": option("of the run directory, else made from config and data", metavar="NAME"),
    "fresh": flag("discard an earlier run of the same name"),
    "threads": option("processor threads; 0 uses all", 0, type=integer(0, 1024)),
    "verbose": option("1: bar, 2: line per epoch", 1, None, type=int, choices=(0, 1, 2)),
    "out": option("folder for figures and scores [images/RUN]", metavar="PATH", type=path),
    "data_dir": option("where data sets are looked for first", "data", "PATH", type=path),
    "models_dir": option("where runs are kept", "models", "PATH", type=path),
}
POSITIONAL = ("run", "runs", "names", "sources", "file")


def add_command(commands, function, text: str, *names, **changes) -> None:
    """Add the command that a function runs, and that bears its name.

    Args:
        commands: The subparsers of the program.
        function: Takes the parsed options and returns the exit code.
        text: What the command does, for `--help`.
        names: Options of the table above; those in a tuple exclude each other. `data_dir` and `models_dir`
            are added to all.
        changes: What differs from the table, by option; an option that it lacks is described in full.
    """
    command = commands.add_parser(function.__name__, help=text, description=text)
    command.set_defaults(command=function, parser=command)
    for name in (*names, "data_dir", "models_dir"):
        group = command.add_mutually_exclusive_group() if isinstance(name, tuple) else command
        for option_name in name if isinstance(name, tuple) else (name,):
            flag_name = option_name if option_name in POSITIONAL else f"--{option_name}"
            group.add_argument(flag_name, **OPTIONS.get(option_name, {}) | changes.get(option_name, {}))


def chosen(options, names) -> dict:
    """Return the values of the options of these names."""
    return {name: getattr(options, name) for name in names}
