"""Every metric of a trained model in one table, and the instruments that it needs."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["ood"],
    submod_attrs={
        "context": ["EvaluationContext"],
        "metric_table": ["as_text", "score_table", "training_scores"],
        "samples": ["within_class_diversity"],
        "classifier": ["Classifier", "ClassifierConfig", "load_classifier", "train_classifier"],
        "baselines": ["fit_pca", "keep_components", "log_prob_bound", "reconstruct", "codec_bits_per_dim"],
        "report": ["write_report", "write_samples", "write_codes"],
        "image_scores": ["score_images", "reference_elbos", "likeliest_labels"],
        "new_images": ["write_scores", "write_reconstructions", "write_new_codes"],
    },
)
