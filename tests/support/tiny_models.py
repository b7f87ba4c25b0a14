"""Models so small that a test makes several."""

import numpy as np

SIZES = {"latent_dim": 3, "width": 4, "dense_units": 16}


def trained(vae, seed=0):
    """The model with weights that make its images differ, as training would."""
    rng = np.random.default_rng(seed)
    for weight in vae.trainable_variables:
        size = np.sqrt(2.0 / max(1, np.prod(weight.shape[:-1]))) if len(weight.shape) > 1 else 0.3
        weight.assign(rng.normal(0.0, size, weight.shape))
    return vae
