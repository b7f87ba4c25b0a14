"""`vae_lib ood`: which scores tell the images of a run from others."""

from pathlib import Path

import vae_lib as vl
from vae_lib.cli.inputs import MOVED, find_run, images_of, spelling
from vae_lib.cli.parser import COUNT, add_command, given, integer, option
from vae_lib.utils.files import ensure_writable


def add(commands) -> None:
    """Add the command to the program's."""
    text = (
        "compare scores of novelty by how well they tell a run's test images from others (AUROC); several "
        "runs that differ in seed alone give an interval over seeds, one run an interval over images"
    )
    changes = {
        "runs": {"help": "run directories, or their names", "nargs": "+", "metavar": "RUN", "type": given},
        "against": option(
            "other images: names of data sets, paths as `score` takes them, or changes of the run's own test "
            "images: constant, noise, hflip, vflip, blur [all of these, mnist, fashion_mnist, digits]",
            metavar="NAME|PATH",
            nargs="+",
            type=given,
        ),
        "num_images": option("images of each set", 2000, type=COUNT),
        "iwae": option(
            "samples of the importance-weighted bound; 0 leaves it out", 5, type=integer(0, 10_000)
        ),
        "data": MOVED,
        "out": {"help": "folder for the table and the figure [images/RUN/ood]"},
    }
    names = ("runs", "against", "num_images", "iwae", "data", "skip_bad", "out")
    add_command(commands, ood, text, *names, **changes)


def ood(options) -> int:
    """Run the command; return its exit code."""
    runs = [find_run(options, name) for name in options.runs]
    out = options.out or Path("images") / runs[0].name / "ood"
    data = images_of(runs[0], options)
    ensure_writable(out)
    vl.start_tensorflow()
    against = options.against and [_spelling(name) for name in options.against]
    settings = {"n_images": options.num_images, "iwae_k": options.iwae, "data_dir": options.data_dir}
    found = vl.evaluation.ood.compare(runs, data, against, skip_bad=options.skip_bad, **settings)
    vl.evaluation.ood.write(found, out)
    print(vl.evaluation.ood.as_text(found))
    print(f"table, scores and figure: {out / 'ood.csv'}, ood_images.csv, ood.png")
    return 0


def _spelling(given: str) -> str:
    """Return the spelling of a set; of a folder that is called like a change, with `./` before it."""
    path = spelling(given, is_data=True)
    return f"./{path}" if path in vl.evaluation.ood.CHANGES and path != given else path
