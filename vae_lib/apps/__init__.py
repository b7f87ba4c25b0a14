"""What is made of a trained model for others: files that other programs run, and a page to explore it."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__, submod_attrs={"explorer.page": ["write_explorer"], "export": ["export_model"]}
)
