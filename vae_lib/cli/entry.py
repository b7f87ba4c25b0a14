"""Where the command line begins: parses the arguments, runs the command, and turns errors into exit codes."""

import argparse
import contextlib
import os
import sys
import warnings

import vae_lib as vl
from vae_lib.cli import (
    compress,
    decompress,
    doctor,
    encode,
    evaluate,
    explorer,
    export,
    ood,
    reconstruct,
    runs,
    sample,
    score,
    study,
    train,
    tune,
)
from vae_lib.cli.parser import Parser, underscored
from vae_lib.utils.errors import DivergenceError, InputError
from vae_lib.utils.signals import Terminated

# As `--help` lists them: a model, new images, other programs, many models.
COMMANDS = (
    *(train, evaluate, sample, encode, reconstruct),
    *(score, ood, compress, decompress, doctor),
    *(export, explorer),
    *(study, tune, runs),
)


def main(argv: list[str] | None = None) -> int:
    """Run a command; return its exit code: 0, 1 for a run that diverged, 2 for bad input."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # not a stream of text
            stream.reconfigure(errors="replace")  # a terminal that has no ± shows a question mark
    options = make_parser().parse_args(list(map(underscored, sys.argv[1:] if argv is None else argv)))
    try:
        with warnings.catch_warnings():
            warnings.showwarning = telling_once()
            code = options.command(options)
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # the reader of the output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as of a command that SIGPIPE ended
    except (InputError, DivergenceError) as error:
        return _fail(error, 2 if isinstance(error, InputError) else 1)
    except (KeyboardInterrupt, Terminated) as stop:
        what, code = ("terminated", 143) if isinstance(stop, Terminated) else ("interrupted", 130)
        resumes = options.command in (train.train, study.study, tune.tune)
        return _fail(f"{what}: the same command {'resumes the run' if resumes else 'starts again'}", code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}; fix this and run the command again", 1)


def telling_once():
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


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(prog="vae_lib", description="Train, evaluate and sample variational autoencoders.")
    parser.add_argument("--version", action="version", version=vl.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add(commands)
    return parser
