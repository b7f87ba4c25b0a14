import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["MPLBACKEND"] = "Agg"

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def digits():
    """Real handwriting, 8x8, small enough to train on in a second."""
    from vae_lib.data.loading import load_dataset

    return load_dataset("digits")
