"""The mixture prior of a trained model: fitted to its codes, compared with its own prior, kept in a file."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from vae_lib.data.dataset import ImageDataset
from vae_lib.latent_space import MixturePrior, draw_codes, fit_mixture_prior
from vae_lib.metrics.sample_quality import frechet_distance
from vae_lib.utils.errors import InputError
from vae_lib.utils.files import atomic_write

N_CODES = 20_000  # training images whose codes the kept mixture is fitted to
N_JUDGED = 2000  # validation images, and images of each prior, that decide between the two
N_AXES = 64  # principal components of the pixels in which they are compared
MAX_MIXTURE = 640  # components x latents of the mixtures of a scorecard: more cost minutes


@dataclass(frozen=True)
class KeptMixture:
    """A mixture prior, and how far images from it and from the model's own prior are from validation images.

    Attributes:
        mixture: Fitted to codes of training images, one for each class where they have labels.
        distances: Fréchet distances of draws, under `model` and `mixture`: on principal components of the
            pixels, of validation images. NaN where there is but one of these.
    """

    mixture: MixturePrior
    distances: dict[str, float]

    @property
    def better(self) -> str:
        """`model` or `mixture`: the prior whose draws are nearer to validation images; `model` if unknown."""
        return "mixture" if self.distances["mixture"] < self.distances["model"] else "model"

    def save(self, path: Path) -> None:
        """Write an .npz file of plain arrays, in float32, whole or not at all."""
        arrays = {name: a.astype("float32") if a.dtype == float else a for name, a in self._arrays().items()}
        atomic_write(path, lambda temporary: np.savez_compressed(temporary, **arrays))

    def _arrays(self) -> dict[str, np.ndarray]:
        distances = np.array([self.distances["model"], self.distances["mixture"]])
        return {**self.mixture.to_arrays(), "distances": distances}

    @classmethod
    def load(cls, path: Path, latent_dim: int) -> "KeptMixture":
        """Read the file that `save` wrote; nothing in it is unpickled.

        Raises:
            InputError: If the file is damaged, or of codes of another size.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                kinds = {name: float if a.dtype.kind == "f" else a.dtype for name, a in arrays.items()}
                arrays = {name: arrays[name].astype(kind) for name, kind in kinds.items()}
            if arrays["means"].shape[1] != latent_dim:
                raise ValueError(f"codes of {arrays['means'].shape[1]} latents, not {latent_dim}")
            distances = dict(zip(("model", "mixture"), map(float, arrays["distances"]), strict=True))
            return cls(MixturePrior.from_arrays(arrays), distances)
        except Exception as error:  # a damaged archive raises many types
            raise InputError(f"{path} is damaged ({error}): remove it, and it is fitted again") from None


def fit_mixture(
    vae, data: ImageDataset, n_codes: int, y_train=None, y_val=None, most: int = MAX_MIXTURE
) -> MixturePrior:
    """Fit a mixture to codes of the first training images, its size chosen on validation images.

    Args:
        vae: A trained VAE.
        data: The images it was trained on.
        n_codes: How many training and validation images are encoded, at most.
        y_train: Their classes, for a mixture of each; None fits one to all.
        y_val: Those of the validation images.
        most: Components times latents of a mixture, at most.
    """
    codes = [_sampled_codes(vae, data, part, n_codes) for part in ("train", "val")]
    sizes = tuple(k for k in (1, 5, 10, 20, 50) if k == 1 or k <= most // vae.latent_dim)
    if y_train is None:
        return fit_mixture_prior(*codes, sizes)
    labels = {"y_train": y_train[:n_codes], "y_val": y_val[:n_codes], "n_classes": len(data.class_names)}
    return fit_mixture_prior(*codes, sizes, **labels)


def _sampled_codes(vae, data: ImageDataset, part: str, n: int) -> np.ndarray:
    """Return one z drawn from q(z|x) for each of the first n images of a part."""
    x, y = data.images_and_labels(part)
    x, y = vae.as_observed(np.asarray(x[:n])), y[:n] if vae.num_classes else None
    return draw_codes(*vae.encode(x, y), np.random.default_rng(0))


def keep_mixture(vae, data: ImageDataset) -> KeptMixture:
    """Fit the mixture prior of a model, one for each class where there are labels, and judge both priors."""
    with threadpool_limits(1):  # the same bits on any number of cores
        y_train, y_val = (data.images_and_labels(part)[1] for part in ("train", "val"))
        mixture = fit_mixture(vae, data, N_CODES, y_train, y_val, most=5 * MAX_MIXTURE)
        x = vae.as_observed(np.asarray(data.x_val[:N_JUDGED]))
        y = y_val[:N_JUDGED] if vae.num_classes else None
        distances = {"model": math.nan, "mixture": math.nan}
        if len(x) > 1:
            axes = PCA(min(N_AXES, len(x) - 1, x[0].size), svd_solver="full").fit(_rows(x))
            drawn = {"model": vae.sample_prior(len(x), y), "mixture": mixture.sample(len(x), y)}
            for name, z in drawn.items():
                images = vae.decode(z, y, draw=True)
                distances[name] = frechet_distance(axes.transform(_rows(images)), axes.transform(_rows(x)))
    return KeptMixture(mixture, distances)


def generate(
    vae,
    n: int,
    y=None,
    kept: KeptMixture | None = None,
    prior: str | None = None,
    seed: int = 0,
    temperature: float = 1.0,
    draw: bool = False,
) -> np.ndarray:
    """Return n uint8 images, of the classes y if given: arguments as of `Run.sample`.

    Without a kept mixture they are from the model's own prior; so they are, in the end, if its draws were
    nearer to validation images and no class is asked of a model without classes.
    """
    from vae_lib.models.vae import check_count, class_labels

    check_count(n)
    if prior not in (None, "model", "mixture"):
        raise InputError(f"prior must be model or mixture; received {prior!r}")
    chosen = prior or ("model" if kept is None or kept.better == "model" else "mixture")
    if chosen == "model" and (prior or kept is None or y is None or vae.num_classes):
        return vae.sample(n, y, seed, temperature, draw)
    labels = None if y is None else class_labels(y, n, len(kept.mixture.mixtures))
    z = kept.mixture.sample(n, labels, seed, temperature)
    return vae.decode(z, labels if vae.num_classes else None, draw, seed, temperature)


def _rows(x: np.ndarray) -> np.ndarray:
    """Return images as rows of pixels in [0, 1]."""
    return x.reshape(len(x), -1) / 255.0
