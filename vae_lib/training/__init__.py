"""One run: training, checkpoints, scores, and its directory."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["checkpoint"],
    submod_attrs={
        "trainer": ["train", "DivergenceError"],
        "scores": ["evaluate", "mean_elbo_terms", "importance_bounds", "binarize_images"],
        "run": ["Run", "load_run", "make_vae"],
    },
)
