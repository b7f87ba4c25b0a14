"""`vae_lib tune`: search for settings that beat the default at its own cost."""

import shlex

import vae_lib as vl
from vae_lib.apps.search_space import SPACE, VARIABLE, parse_settings
from vae_lib.cli.inputs import dataset_name, load_images
from vae_lib.cli.parser import COUNT, FIELDS, add_command, chosen, integer, option
from vae_lib.config import MEASURES, TrainConfig


def add(commands) -> None:
    """Add the command to the program's."""
    text = (
        "search for settings that beat those given at the same cost of training, on validation images; then "
        "compare the choice with them on test images, over seeds. The same command resumes the search. An "
        f"option among {', '.join(SPACE)} is held if it is given, and searched if not"
    )
    fields = [name for name in FIELDS if name != "dataset"]
    changes = {name: {"default": None} for name in SPACE}
    changes["epochs"] = {"help": f"{FIELDS['epochs']['help']}; a trial gets as many as take the same time"}
    changes["seed"] = {
        "help": f"{FIELDS['seed']['help']}, of the trials; the comparison takes those after it"
    }
    changes["trials"] = option("how many configs are tried", 30, type=COUNT)
    varied = " ".join(f"{name}={values}" for name, values in SPACE.items())
    more = ", ".join(name for name in VARIABLE if name not in SPACE)
    changes["vary"] = option(
        f"search over these values too, or in place of [{varied}]: NAME=LOW:HIGH, evenly, NAME=LOW:HIGH:log, "
        f"or NAME=A,B,...; there are also {more}",
        metavar="NAME=VALUES", nargs="+",
    )  # fmt: skip
    changes["measure"] = option("what is searched by", "bits_per_dim", None, choices=MEASURES)
    changes["seeds"] = option(
        "runs of the choice, and of the default, that are compared", 3, type=integer(2, 99)
    )
    changes["name"] = {"help": "of the search's folder, else made from all that it depends on"}
    changes["out"] = option("folder in which tables and figures get one of their own", "images/tune", "PATH")
    changes["models_dir"] = option("where searches are kept", "models/tune", "PATH")
    names = (
        ("dataset", "data"),
        *fields,
        "trials",
        "vary",
        "measure",
        "seeds",
        "jobs",
        "skip_bad",
        "name",
        "out",
    )
    add_command(commands, tune, text, *names, **changes)


def tune(options) -> int:
    """Run the command; return its exit code."""
    fields = {name: value for name, value in chosen(options, FIELDS).items() if value is not None}
    config = TrainConfig(**fields | {"dataset": dataset_name(options)})
    space = {name: values for name, values in SPACE.items() if getattr(options, name) is None}
    space |= parse_settings(options.vary or [])
    data = load_images(config.dataset, config, options)
    vl.start_tensorflow(1)  # as in the workers
    settings = chosen(options, ("trials", "measure", "seeds", "models_dir", "name", "out"))
    tuning = vl.tune(config, data, space=space, n_jobs=options.jobs, **settings)
    print(tuning.summary())
    print(f"train it: python -m vae_lib train {train_options(tuning.chosen, options)}")
    print(f"search: {tuning.directory}; tables and figures: {options.out / tuning.directory.name}")
    return 0


def train_options(config: TrainConfig, options=None) -> str:
    """Return the options of `train` that give this config and find its images, as a shell takes them."""
    words, default = ["--dataset", config.dataset], TrainConfig(dataset=config.dataset).to_dict()
    if config.conditional:
        default["prior"] = None  # a conditional model has another default
    for name, value in config.to_dict().items():
        if value != default[name]:
            values = value if isinstance(value, list) else [] if value is True else [value]
            words += [f"--{name}", *map(str, values)]
    if options and str(options.data_dir) != "data":
        words += ["--data_dir", str(options.data_dir)]
    if options and options.skip_bad:
        words.append("--skip_bad")
    return shlex.join(words)
