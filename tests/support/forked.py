"""Processes forked from a server that has imported TensorFlow and computed nothing: they start at once."""

import multiprocessing
import os
import sys

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["vae_lib.training.trainer", "sklearn.datasets"])


def start(target, *arguments):
    """Start a function of a module in a process of its own."""
    process = SERVER.Process(target=target, args=arguments)
    process.start()
    return process


def code_of(process) -> int:
    """Wait for the end of a process; return its exit code, negative for a signal."""
    process.join(120)
    return process.exitcode


def start_cli(words, prepare=None):
    """Start the command line, after `prepare()`; return the process and pipes with its output and errors."""
    (out, its_out), (err, its_err) = (SERVER.Pipe(duplex=False) for _ in range(2))
    process = start(_run_cli, [str(word) for word in words], prepare, its_out, its_err)
    its_out.close()
    its_err.close()
    return process, out, err


def run_cli(*words, prepare=None) -> tuple[int, str, str]:
    """Run the command line, after `prepare()`; return exit code, output and errors."""
    process, out, err = start_cli(words, prepare)
    texts = [read(pipe) for pipe in (out, err)]
    return code_of(process), *texts


def read(pipe) -> str:
    """Return what comes out of a pipe until its writer ends."""
    with open(os.dup(pipe.fileno()), encoding="utf-8") as file:
        return file.read()


def _run_cli(words, prepare, out, err) -> None:
    for number, pipe in ((1, out), (2, err)):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
    from vae_lib.cli import main

    if prepare is not None:
        prepare()
    sys.exit(main(words))
