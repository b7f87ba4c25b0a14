"""`import vae_lib as vl`: light, complete, and without a file that bears a function's name."""

import subprocess
import sys
from pathlib import Path

import pytest

import vae_lib as vl
from tools.execute_notebook import ROOT

PACKAGES = ["data", "models", "training", "metrics", "plots", "evaluation", "study", "apps"]
PROMISED = [
    *(
        "TrainConfig",
        "EvaluationConfig",
        "ImageDataset",
        "load_dataset",
        "from_arrays",
        "VAE",
        "train",
        "evaluate",
    ),
    *(
        "evaluate",
        "Run",
        "load_run",
        "scorecard",
        "run_study",
        "InputError",
        "diagnose",
        "tune",
        "latent_space",
        *PACKAGES,
    ),
]


def test_importing_it_takes_less_than_a_tenth_of_a_second_and_loads_nothing_else():
    code = """
import sys, time
before, began = set(sys.modules), time.perf_counter()
import vae_lib
took = time.perf_counter() - began
loaded = {name.split(".")[0] for name in set(sys.modules) - before}
print(took < 0.1, sorted(loaded & {"tensorflow", "keras", "numpy", "pandas", "matplotlib", "sklearn"}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "True []\n"


def test_the_front_door_has_what_is_promised():
    assert set(PROMISED) <= set(vl.__all__)


@pytest.mark.parametrize("name", ["vae_lib", *PACKAGES])
def test_every_listed_name_exists_and_no_file_bears_the_name_of_a_function(name):
    package = vl if name == "vae_lib" else getattr(vl, name)
    files = {path.stem for path in Path(package.__file__).parent.glob("*.py")}
    for attribute in package.__all__:
        found = getattr(package, attribute)
        assert getattr(found, "__name__", "").startswith("vae_lib.") or attribute not in files, attribute
