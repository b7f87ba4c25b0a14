"""`vae_lib doctor`: name what is wrong with a training, of this program or of any other."""

import json
import os
import warnings
from pathlib import Path

import vae_lib as vl
from vae_lib.cli.inputs import MOVED, images_of
from vae_lib.cli.parser import add_command, flag, given, option
from vae_lib.utils.errors import InputError


def add(commands) -> None:
    """Add the command to the program's."""
    text = (
        "name what is wrong with the training of a VAE, with the evidence and the remedy: of a run; or, of "
        "any framework, of a history (.csv, a row an epoch: loss, reconstruction_loss, kl_loss, val_loss, "
        "beta, ... or other usual names), of arrays (.npz with x, reconstruction, z_mean, z_log_var), or "
        "best of both. The exit code is 0 whatever is found"
    )
    changes = {
        "sources": option("run or its name; history.csv; arrays.npz", None, "SOURCE", nargs="+", type=given),
        "beta": option("weight of the KL that was set, if the history does not say it", type=float),
        "batch_size": option("of the training, to know a loss that was summed over batches", type=int),
        "loss": option("reconstruction loss, if the history does not say it", None, None,
                       choices=("bce", "mse", "l1", "other")),
        "learned_prior": flag("p(z) was not N(0, I)"),
        "json": flag("print JSON"),
        "data": MOVED,
    }  # fmt: skip
    add_command(commands, doctor, text, *changes, "skip_bad", **changes)


def doctor(options) -> int:
    """Run the command; return its exit code."""
    sources = [_source(text, options) for text in options.sources]
    data = next((_images(source, options) for source in sources if isinstance(source, vl.Run)), None)
    diagnosis = vl.diagnose(
        *sources, data=data, beta=options.beta, batch_size=options.batch_size, loss=options.loss,
        learned_prior=options.learned_prior,
    )  # fmt: skip
    print(json.dumps(diagnosis.to_dict(), indent=2) if options.json else diagnosis)
    return 0


def _source(text: str, options):
    """Return the run of that path or name, or the text, which is then the path of a file."""
    paths = options.models_dir / text, Path(text)
    found = [path for path in paths if os.path.isfile(path / "config.json")]
    if not found and not os.path.exists(text):
        raise InputError(
            f"there is no run and no file {text!r}: `runs` lists the runs; or give a history as .csv, arrays "
            "as .npz"
        )
    return vl.Run(found[0]) if found else text


def _images(run, options):
    """Start TensorFlow and return the images of a run that has weights; None if there are none."""
    if not (run.directory / "model.keras").exists():
        return None
    try:
        data = images_of(run, options)
    except InputError as error:
        if options.data:
            raise
        warnings.warn(f"only the history is examined: {error}", stacklevel=1)
        return None
    vl.start_tensorflow()
    return data
