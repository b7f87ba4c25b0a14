"""Latent space tools: arrays of codes in, arrays of codes or coordinates out. The caller decodes them."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.manifold import TSNE
from sklearn.mixture import GaussianMixture


def embed_pca(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project codes onto their two principal axes.

    Args:
        codes: Shape (n, latent_dim), latent_dim at least 2.

    Returns:
        Coordinates (n, 2) and the share of the variance that each axis explains (2,).
    """
    pca = _fit_pca(codes)
    return pca.transform(codes), pca.explained_variance_ratio_


def principal_plane(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the plane of `embed_pca`: its origin is the mean of the codes.

    Args:
        codes: Shape (n, latent_dim), n and latent_dim at least 2.

    Returns:
        Origin (latent_dim,), unit axes (2, latent_dim), the share of the variance that each explains (2,).
    """
    pca = _fit_pca(codes)
    return pca.mean_, pca.components_, pca.explained_variance_ratio_


def _fit_pca(codes: np.ndarray) -> PCA:
    return PCA(n_components=2, svd_solver="full").fit(codes)


def embed_tsne(codes: np.ndarray, perplexity: float = 30.0, seed: int = 0) -> np.ndarray:
    """Place codes in the plane so that near neighbours stay near.

    Distances between clusters, their sizes and their densities carry no meaning. Use the same kind of
    codes, z_mean, in every plot that is compared.

    Args:
        codes: Shape (n, latent_dim), n more than 3 times the perplexity.
        perplexity: Effective number of neighbours.
        seed: Seed of the optimisation, which starts from PCA.

    Returns:
        Coordinates (n, 2).

    Raises:
        ValueError: If all codes are one point, as of a collapsed model: scikit-learn would crash on them.
    Source: van der Maaten and Hinton 2008, JMLR 9; Wattenberg et al. 2016, distill.00002.
    """
    if not np.ptp(codes, axis=0).any():
        raise ValueError(
            f"t-SNE needs codes that differ; received {len(codes)} equal ones, as of a collapsed model. "
            "Embed the codes of a model with active units."
        )
    tsne = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    return tsne.fit_transform(np.asarray(codes, dtype="float32"))


def prior_quantile_grid(side: int, tail: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Return two-dimensional codes in equal steps of the prior's probability, not of z.

    Args:
        side: Codes along each of the two latents.
        tail: Probability left out at each end; 0.01 reaches from -2.33 to 2.33.

    Returns:
        Codes (side, side, 2), where codes[i, j] has z0 at quantile j and z1 at quantile i, and the
        quantiles (side,).
    """
    quantiles = np.linspace(tail, 1.0 - tail, side)
    z0, z1 = np.meshgrid(norm.ppf(quantiles), norm.ppf(quantiles))
    return np.stack([z0, z1], axis=-1), quantiles


def traverse(z: np.ndarray, dims: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return copies of one code with one latent at a time set to each value.

    Args:
        z: One code, shape (latent_dim,).
        dims: The latents to move, in the order of the rows: by rate, or dead ones come first.
        values: What each is set to, shape (steps,).

    Returns:
        Codes, shape (len(dims), steps, latent_dim).
    """
    codes = np.tile(np.asarray(z, dtype="float64"), (len(dims), len(values), 1))
    for row, dim in enumerate(dims):
        codes[row, :, dim] = values
    return codes


def interpolate(z_from: np.ndarray, z_to: np.ndarray, steps: int, spherical: bool = False) -> np.ndarray:
    """Return codes on the way from one code to another.

    Args:
        z_from: Shape (n, latent_dim).
        z_to: Shape (n, latent_dim).
        steps: Codes on each path, both ends included.
        spherical: Follow the arc between the two directions, which keeps the typical length of
            high-dimensional Gaussian codes, in place of the straight line.

    Returns:
        Codes, shape (n, steps, latent_dim).
    Source: White 2016, arXiv:1609.04468 (spherical).
    """
    weight = np.linspace(0.0, 1.0, steps)[None, :, None]
    start, end = np.asarray(z_from)[:, None], np.asarray(z_to)[:, None]
    line = (1.0 - weight) * start + weight * end
    if not spherical:
        return line
    lengths = np.linalg.norm(start, axis=-1, keepdims=True) * np.linalg.norm(end, axis=-1, keepdims=True)
    cosine = np.sum(start * end, axis=-1, keepdims=True) / np.maximum(lengths, 1e-12)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    sine = np.sin(angle)
    straight = (sine < 1e-6) | (lengths < 1e-12)  # one direction, opposite ones or none: no single arc
    safe = np.where(straight, 1.0, sine)
    arc = (np.sin((1.0 - weight) * angle) * start + np.sin(weight * angle) * end) / safe
    return np.where(straight, line, arc)


def attribute_direction(z: np.ndarray, has_attribute: np.ndarray) -> np.ndarray:
    """Return the mean code of images with an attribute minus that of images without, shape (latent_dim,).

    Args:
        z: Codes, shape (n, latent_dim).
        has_attribute: Booleans, shape (n,), both values present.

    Raises:
        ValueError: If all images have the attribute, or none has.
    """
    has_attribute = np.asarray(has_attribute, dtype=bool)
    if has_attribute.all() or not has_attribute.any():
        n_with = f"{has_attribute.sum()} of {len(z)}"
        raise ValueError(f"`has_attribute` is true of {n_with} images. Pass codes of both kinds.")
    return z[has_attribute].mean(axis=0) - z[~has_attribute].mean(axis=0)


def draw_codes(z_mean: np.ndarray, z_log_var: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one z drawn from q(z|x) for each image; all arrays are of shape (n, latent_dim)."""
    return z_mean + np.exp(0.5 * z_log_var) * rng.standard_normal(z_mean.shape)


@dataclass(frozen=True)
class MixturePrior:
    """Gaussian mixtures fitted to codes after training: one of all codes, or one for each class.

    Attributes:
        mixtures: One, or one for each class, of full covariances.
        shares: How many of the codes each was fitted to, as shares of all.
    Source: Ghosh et al. 2020, arXiv:1903.12436 (ex-post density estimation).
    """

    mixtures: tuple[GaussianMixture, ...]
    shares: np.ndarray

    @property
    def n_components(self) -> int:
        """Gaussians in all mixtures together."""
        return sum(len(mixture.weights_) for mixture in self.mixtures)

    def sample(self, n: int, y: np.ndarray | None = None, seed: int = 0, temperature: float = 1.0):
        """Return codes, shape (n, latent_dim); of one mixture for each class, of the classes y, (n,).

        Without y, classes are drawn as often as they were among the codes. The temperature scales the
        distance of a code from the mean of its Gaussian.
        """
        rng = np.random.default_rng(seed)
        if len(self.mixtures) == 1:
            y = np.zeros(n, int)
        elif y is None:
            y = rng.choice(len(self.mixtures), n, p=self.shares)
        z = np.empty((n, self.mixtures[0].means_.shape[1]))
        for label in np.unique(y):
            rows = np.flatnonzero(y == label)
            own_seed = (seed + 1_000_003 * int(label)) % 2**32  # or classes would share their noise
            mixture = self.mixtures[label].set_params(random_state=own_seed)
            drawn, component = mixture.sample(len(rows))
            if temperature != 1.0:
                drawn = mixture.means_[component] + temperature * (drawn - mixture.means_[component])
            z[rows] = rng.permutation(drawn)
        return z

    def log_prob(self, z: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
        """Return log p(z) in nats, shape (n,); of one mixture for each class, log p(z|y)."""
        if len(self.mixtures) == 1:
            return self.mixtures[0].score_samples(z)
        if y is None:
            densities = [mixture.score_samples(z) for mixture in self.mixtures]
            return logsumexp(np.stack(densities, axis=1), axis=1, b=self.shares)
        log_prob = np.empty(len(z))
        for label in np.unique(y):
            log_prob[y == label] = self.mixtures[label].score_samples(z[y == label])
        return log_prob

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the mixtures as arrays: of all Gaussians one after the other, and how many each has."""
        names = ("weights_", "means_", "covariances_")
        arrays = {
            name.strip("_"): np.concatenate([getattr(mixture, name) for mixture in self.mixtures])
            for name in names
        }
        return {
            **arrays,
            "shares": self.shares,
            "sizes": np.array([len(mixture.weights_) for mixture in self.mixtures]),
        }

    @classmethod
    def from_arrays(cls, arrays) -> "MixturePrior":
        """Return the mixtures of `to_arrays`; shares and weights sum to one again, which a file rounds."""
        mixtures, ends = [], np.cumsum(arrays["sizes"])
        for start, end in zip(ends - arrays["sizes"], ends, strict=True):
            mixture = GaussianMixture(int(end - start))
            mixture.weights_, mixture.means_, mixture.covariances_ = (
                arrays[name][start:end] for name in ("weights", "means", "covariances")
            )
            mixture.weights_ = mixture.weights_ / mixture.weights_.sum()
            mixture.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(mixture.covariances_)).mT
            mixtures.append(mixture)
        return cls(tuple(mixtures), arrays["shares"] / arrays["shares"].sum())


def fit_mixture_prior(
    z_train: np.ndarray,
    z_val: np.ndarray,
    n_components: tuple[int, ...] = (1, 5, 10, 20, 50),
    seed: int = 0,
    y_train: np.ndarray | None = None,
    y_val: np.ndarray | None = None,
    n_classes: int | None = None,
) -> MixturePrior:
    """Fit Gaussian mixtures to codes after training; their sizes are chosen by validation.

    Args:
        z_train: Codes drawn from q(z|x) of training images, shape (n, latent_dim).
        z_val: The same of validation images.
        n_components: Numbers of components to try; those of which one would have under 20 codes are not.
        seed: Seed of the fits.
        y_train: Classes 0, 1, ... of the training codes, for a mixture of each; None fits one to all.
        y_val: Classes of the validation codes.
        n_classes: How many there are; None takes those up to the last of the training codes.

    Returns:
        The mixtures with the highest mean log-density of `z_val`.
    """
    if y_train is None:
        y_train, y_val = np.zeros(len(z_train), int), np.zeros(len(z_val), int)
    mixtures, shares = [], np.bincount(y_train, minlength=n_classes or 0) / len(y_train)
    for label in range(len(shares)):
        train, val = z_train[y_train == label], z_val[y_val == label]
        train = train if len(train) > 1 else z_train  # of a class that is missing among these codes
        train = train if len(train) > 1 else np.repeat(train, 2, axis=0)  # fewer cannot be fitted
        sizes = [k for k in n_components if k == 1 or k <= len(train) // 20]
        with warnings.catch_warnings():  # a fit that was cut short is judged by validation like any other
            warnings.simplefilter("ignore", ConvergenceWarning)
            fits = [GaussianMixture(k, reg_covar=1e-4, random_state=seed).fit(train) for k in sizes]
        judged = val if len(val) else train
        mixtures.append(max(fits, key=lambda mixture, z=judged: mixture.score(z)))
    return MixturePrior(tuple(mixtures), shares)
