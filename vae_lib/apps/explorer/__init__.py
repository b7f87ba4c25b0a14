"""The latent explorer: one HTML file in which a model's own decoder runs, in the browser."""
