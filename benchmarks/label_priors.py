"""Which prior of a conditional model gives the class asked for: N(0, I), a Gaussian of each class, or a flow.

Trains each with three seeds, by default as a cell of the study, and scores it: the bound, the share of images
in which a classifier finds the class asked for, and their Fréchet distance from real ones; from the model's
own prior and from a mixture fitted to the codes of each class. Means and 95 % intervals over seeds. Runs
that are done are read. Run it from the project's root; nine runs take 25 minutes on two cores:

    python benchmarks/label_priors.py
"""

import argparse
from pathlib import Path

import vae_lib as vl
from vae_lib.config import TrainConfig
from vae_lib.study.grids import STUDY_EVALUATION, grid

SCORES = [
    "bits_per_dim_test",
    *(f"classifier_accuracy_{kind}_{prior}" for prior in ("model", "mixture") for kind in ("mean", "sample")),
    *(f"within_class_diversity_sample_{prior}" for prior in ("model", "mixture")),
    *(f"frechet_distance_sample_{prior}" for prior in ("model", "mixture")),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--latent_dim", type=int, default=32)
    parser.add_argument("--n_train", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--models_dir", type=Path, default=Path("models/study"))
    options = parser.parse_args()
    base = TrainConfig(
        dataset=options.dataset, epochs=options.epochs, latent_dim=options.latent_dim, conditional=True,
        n_train=options.n_train,
    )  # fmt: skip
    configs = grid(base, prior=("normal", "gaussian", "flow"), seed=range(options.seeds))
    table = vl.run_study(
        configs,
        n_jobs=options.jobs,
        evaluation=STUDY_EVALUATION,
        models_dir=options.models_dir,
        progress=True,
    )
    failed = table[table["status"] != "finished"]
    if len(failed):
        raise SystemExit(failed[["run", "status", "error"]].to_string())
    runs = vl.study.by_run(table)
    print(f"test images of {runs['source'].iloc[0]}; {options.seeds} seeds, {options.epochs} epochs\n")
    print(vl.study.interval_table(runs, ["prior"], SCORES).T.to_string())


if __name__ == "__main__":
    main()
