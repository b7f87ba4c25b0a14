"""One run: training, checkpoints, scores, and its directory."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["checkpoint"],
    submod_attrs={
        "trainer": ["train", "check_fit", "DivergenceError"],
        "scores": ["evaluate"],
        "run": ["Run", "load_run", "find_run", "list_runs", "remove_run", "make_vae"],
    },
)
