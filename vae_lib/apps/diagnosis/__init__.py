"""What is wrong with the training of a VAE, in this library or any other: faults, evidence and remedies."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__, submod_attrs={"examination": ["diagnose"], "findings": ["Diagnosis", "Finding", "first_faults"]}
)
