"""`vae_lib study`: train and score the cells of a study."""

import dataclasses
from pathlib import Path

import vae_lib as vl
from vae_lib.cli.inputs import dataset_name
from vae_lib.cli.parser import FIELDS, add_command, chosen, option
from vae_lib.config import TrainConfig
from vae_lib.study.grids import Comparison
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import ensure_writable, safe_name

SHARED = ("epochs", "batch_size", "image_size", "n_train")  # by all cells of a study


def add(commands) -> None:
    """Add the command to the program's."""
    text = "train and score the cells of a study that are not done yet; write its table and figures"
    names = (("preset", "dataset", "data"), "latent_dim", "beta", "seeds", *SHARED)
    changes = {name: {"default": None} for name in SHARED}
    changes["dataset"] = option("a data set to study in place of a preset", metavar="NAME")
    changes["latent_dim"] = option("sizes of z, compared at the first beta [16]", nargs="+")
    changes["beta"] = option("weights of the rate, compared at the last size [1.0]", nargs="+")
    changes["out"] = {"help": "folder for table and figures [images/study/NAME]"}
    changes["models_dir"] = option("where runs are kept", "models/study", "PATH")
    add_command(commands, study, text, *names, "jobs", "shard", "dry_run", "stand_ins", "out", **changes)


def study(options) -> int:
    """Run the command; return its exit code."""
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
    table = vl.run_study(configs, n_jobs=options.jobs, **settings)
    if options.shard == (1, 1):
        print(vl.study.write_report(table, comparisons, out))
    else:
        print("this part is done; when all are, the same command without --shard writes table and figures")
    return 0 if (table["status"] == "finished").all() else 1


def _comparisons(options) -> dict[str, Comparison]:
    """Return what a study compares: a preset, or sizes and betas on the user's choice of data."""
    given = chosen(options, ("latent_dim", "beta", "seeds", *SHARED))
    given = {name: value for name, value in given.items() if value is not None}
    if options.data is None and options.dataset is None:
        if given:
            raise InputError(f"--{next(iter(given))} needs --data or --dataset: a preset has its own")
        return vl.study.preset_comparisons(options.preset)
    sizes, betas = (given.pop(name, [FIELDS[name]["default"]]) for name in ("latent_dim", "beta"))
    n_seeds = given.pop("seeds", 3)
    return vl.study.sweep(TrainConfig(dataset=dataset_name(options), **given), sizes, betas, n_seeds)
