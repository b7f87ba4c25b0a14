"""Applications of the library: models as files for other programs, and the search for settings."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={"export": ["export_model"], "tuning": ["tune", "Tuning"], "search_space": ["SPACE"]},
)
