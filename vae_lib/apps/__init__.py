"""What is made of a trained model for others: files that other programs run."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, submod_attrs={"export": ["export_model"]})
