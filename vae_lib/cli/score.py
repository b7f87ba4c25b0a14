"""`vae_lib score`: score images that the model never saw, one by one."""

from pathlib import Path

import vae_lib as vl
from vae_lib.cli.inputs import MOVED, NEW, find_run, images_of, new_images
from vae_lib.cli.parser import add_command, given, option
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import ensure_writable

COLUMNS = {
    "bits_per_dim": "the bound on -log2 p(x) per pixel and channel: lower is likelier",
    "typicality": "its distance from the mean of the run's own test images, {unit}: 0 is typical",
    "percentile": "which share of the run's own test images is less likely, in %: 0 is less likely than all",
    "label": "the class under which the image is likeliest: all else is given that class",
}


def add(commands) -> None:
    """Add the command to the program's."""
    text = (
        "score images that the model never saw: scores.csv has a row for each, bits/dim, rate, distortion, "
        "PSNR, typicality and percentile; a contact sheet shows the most and the least likely, reconstructed"
    )
    changes = {
        "data": NEW,
        "run_data": option(MOVED["help"], metavar="PATH", type=given),
        "num_samples": {"help": "images in a row of the contact sheet [10]"},
        "out": {"help": "folder for scores.csv and the contact sheet [images/RUN/score]"},
    }
    add_command(commands, score, text, "run", "data", "run_data", "num_samples", "skip_bad", "out", **changes)


def score(options) -> int:
    """Run the command; return its exit code."""
    run = find_run(options)
    out = options.out or Path("images") / run.name / "score"
    images = new_images(run, options)
    ensure_writable(out)
    reference = _reference(run, options)
    vl.start_tensorflow()
    table = vl.evaluation.write_scores(run, images, out, options.num_samples, reference)
    bits = "bits_per_dim" in table
    column, unit = ("bits_per_dim", "bits/dim") if bits else ("elbo", "nats (ELBO)")
    print(f"median: {table[column].median():,.3f} {unit}, reconstruction {table['psnr'].median():.1f} dB")
    if reference is not None:
        n = (table["percentile"] == 0).sum()
        print(f"{n:,} of them are less likely than all {len(reference):,} test images of {run.name}")
    for name in filter(table.columns.__contains__, COLUMNS):
        text = COLUMNS[name].format(unit="in bits/dim" if bits else "in nats per image, of the ELBO")
        print(f"{name:<14}{text}")
    print("rate, distortion, elbo in nats; psnr of the reconstruction in dB")
    print(f"scores: {out / 'scores.csv'}; {out / 'contact_sheet.png'}")
    return 0


def _reference(run, options):
    """Return the scores of the run's own test images; None, saying why, if they are unavailable."""
    data = None
    if options.run_data or not run.has_reference:
        try:
            data = images_of(run, options, "run_data")
        except InputError as error:
            if options.run_data:
                raise
            print(f"without typicality and percentile, which need the run's own test images: {error}")
            return None
    if not run.has_reference:
        print(f"scoring the test images of {run.name}, once", flush=True)
    vl.start_tensorflow()
    return vl.evaluation.reference_elbos(run, data)
