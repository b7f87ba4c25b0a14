"""What is made of a trained model for others: files that other programs run, and what is wrong with it."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["diagnosis"],
    submod_attrs={"export": ["export_model"], "diagnosis": ["diagnose", "Diagnosis", "Finding"]},
)
