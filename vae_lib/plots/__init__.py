"""Figures: arrays and frames in, matplotlib Axes or Figures out."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "curves": ["plot_loss_curves", "plot_metric", "plot_rate_distortion", "metric_panels"],
        "latents": ["plot_rate_per_dim", "plot_factor_matrix"],
        "novelty": ["plot_novelty"],
        "embeddings": ["plot_embedding", "plot_latent_organisation"],
        "image_grids": [
            "image_grid",
            "reconstruction_grid",
            "contact_sheet",
            "sample_grid",
            "interpolation_grid",
            "manifold_grid",
            "traversal_grid",
            "conditional_grid",
        ],
        "save": ["save_figure", "save_animation"],
        "sliders": ["explore"],
        "tuning": ["plot_trials", "plot_importances"],
        "style": ["figure_style", "new_figure", "palette"],
    },
)
