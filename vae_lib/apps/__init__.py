"""What is made of a trained model for others: files that other programs run, and compressed images."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "codec": ["compress", "decompress"],
        "exact_images": ["ensure_empty", "read_images", "write_images"],
        "export": ["export_model"],
    },
)
