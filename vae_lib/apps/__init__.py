"""What is made of trained models: files and a page for others, a diagnosis, and a search for settings."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["diagnosis"],
    submod_attrs={
        "export": ["export_model"],
        "explorer.page": ["write_explorer"],
        "diagnosis": ["diagnose", "Diagnosis", "Finding"],
        "tuning": ["tune", "Tuning"],
        "search_space": ["SPACE"],
    },
)
