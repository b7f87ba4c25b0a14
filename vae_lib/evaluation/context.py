"""EvaluationContext: the model, the images and the classifier of one evaluation, and what metrics share."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from vae_lib import latent_space
from vae_lib.config import EvaluationConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.evaluation.classifier import Classifier

NO_CLASSIFIER = "it needs a classifier, so labels of two classes or more"
MAX_MIXTURE = 640  # components x latents: more cost minutes


@dataclass(frozen=True)
class EvaluationContext:
    """A VAE, the images it was trained on, a classifier of them or None, and how much to compute."""

    vae: object
    data: ImageDataset
    classifier: Classifier | None
    config: EvaluationConfig

    def images(self, part: str, rows=slice(None)) -> np.ndarray:
        """Return images of `train`, `val` or `test` as the model sees them."""
        return self.vae.as_observed(np.asarray(self.data.images_and_labels(part)[0][rows]))

    def labels(self, part: str, rows=slice(None)) -> np.ndarray | None:
        """Return the labels that a conditional model is given; None for any other."""
        return self.data.images_and_labels(part)[1][rows] if self.vae.num_classes else None

    @cached_property
    def x(self) -> np.ndarray:
        """Test images, uint8 (n, h, w, c)."""
        return self.images("test")

    @cached_property
    def codes(self) -> tuple[np.ndarray, np.ndarray]:
        """z_mean and z_log_var of the test images, each (n, latent_dim)."""
        return self.vae.encode(self.x, self.labels("test"))

    @cached_property
    def reconstructions(self) -> np.ndarray:
        """Decoder means at the z_mean of the test images, uint8."""
        return self.vae.reconstruct(self.x, self.labels("test"))

    def sampled_codes(self, part: str, n: int, seed: int = 0) -> np.ndarray:
        """Return one z drawn from q(z|x) for each of the first n images of a part."""
        z_mean, z_log_var = self.vae.encode(self.images(part, slice(n)), self.labels(part, slice(n)))
        noise = np.random.default_rng(seed).standard_normal(z_mean.shape)
        return z_mean + np.exp(0.5 * z_log_var) * noise

    @cached_property
    def mixture(self):
        """A Gaussian mixture fitted to codes of training images, its size chosen on validation images."""
        train, val = (self.sampled_codes(part, self.config.n_codes) for part in ("train", "val"))
        most = min(len(train) // 20, MAX_MIXTURE // train.shape[1])
        sizes = tuple(k for k in (1, 5, 10, 20, 50) if k == 1 or k <= most)
        with warnings.catch_warnings():  # a fit that was cut short is judged by validation like any other
            warnings.simplefilter("ignore", ConvergenceWarning)
            return latent_space.fit_mixture_prior(train, val, sizes)
