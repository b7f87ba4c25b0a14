"""Variational autoencoders in Keras: train, evaluate and compare them in units that may be compared.

`import vae_lib as vl` loads nothing else: each name below is imported when it is first used, so that the
command line answers before TensorFlow is loaded. The packages list what they hold in the same way.
"""

import lazy_loader as lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=[
        "data",
        "models",
        "training",
        "metrics",
        "latent_space",
        "plots",
        "evaluation",
        "study",
        "apps",
    ],
    submod_attrs={
        "config": ["TrainConfig", "EvaluationConfig"],
        "data.dataset": ["ImageDataset", "from_arrays"],
        "data.loading": ["load_dataset"],
        "models.vae": ["VAE"],
        "training.trainer": ["train"],
        "training.scores": ["evaluate"],
        "training.run": ["Run", "load_run"],
        "evaluation.scorecard": ["scorecard"],
        "study.runner": ["run_study"],
        "apps.diagnosis": ["diagnose"],
        "apps.tuning": ["tune"],
        "utils.errors": ["InputError"],
        "utils.runtime": ["start_tensorflow"],
    },
)
