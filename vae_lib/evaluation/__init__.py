"""Every metric of a trained model in one table, and the instruments that it needs."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["scorecard"],
    submod_attrs={
        "classifier": ["Classifier", "ClassifierConfig", "load_classifier", "train_classifier"],
        "baselines": ["fit_ppca", "codec_bits_per_dim"],
        "report": ["make_report"],
    },
)
