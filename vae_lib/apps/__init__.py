"""What is made of trained models: files, pages and a codec for others, diagnoses, better settings."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["diagnosis"],
    submod_attrs={
        "codec": ["compress", "decompress"],
        "exact_images": ["ensure_empty", "read_images", "write_images"],
        "export": ["export_model"],
        "explorer.page": ["write_explorer"],
        "diagnosis": ["diagnose", "Diagnosis", "Finding"],
        "tuning": ["tune", "Tuning"],
        "search_space": ["SPACE"],
    },
)
