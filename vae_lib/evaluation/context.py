"""EvaluationContext: the model, the images and the classifier of one evaluation, and what metrics share."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vae_lib.config import EvaluationConfig
from vae_lib.data.dataset import ImageDataset
from vae_lib.evaluation.classifier import Classifier
from vae_lib.latent_space import MixturePrior
from vae_lib.training.mixture import N_CODES, fit_mixture

NO_CLASSIFIER = "it needs a classifier (`load_classifier`), so labels of two classes or more"


@dataclass(frozen=True)
class EvaluationContext:
    """A VAE, the images it was trained on, a classifier of them or None, and how much to compute.

    `kept` is the mixture prior that is kept with the run, if it is to be evaluated.
    """

    vae: object
    data: ImageDataset
    classifier: Classifier | None
    config: EvaluationConfig
    kept: MixturePrior | None = None

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

    @property
    def n_mixture_codes(self) -> int:
        """Training images whose codes the mixture prior was fitted to."""
        n = self.config.n_codes if self.kept is None else N_CODES
        return min(n, len(self.data.x_train))

    @cached_property
    def mixture(self) -> MixturePrior:
        """The mixture prior that is kept with the run, or one fitted here; if conditional, for each class."""
        if self.kept is not None:
            return self.kept
        labels = {f"y_{part}": self.labels(part) for part in ("train", "val")}
        return fit_mixture(self.vae, self.data, self.config.n_codes, **labels)
