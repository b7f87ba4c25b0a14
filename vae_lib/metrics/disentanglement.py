"""Disentanglement: does one code stand for one known generative factor?

Every score takes `codes` (n, latent_dim), the posterior means z_mean, and `factors` (n, n_factors), int64
values of the factors that made each image, drawn independently over the whole table. Tables that do not fit,
or with too few factors that vary, raise a ValueError. Rules for all four:

- Every factor is a set of categories without an order. For a cyclic factor (orientation and the two hues of
  the sprites) one code would have to jump from the last value to the first: such a factor keeps a perfect
  model below a perfect score.
- A symmetric shape repeats itself as it turns. Our sprites divide each shape's own period (90 degrees for the
  square, 180 for the ellipse, 360 for the heart), so no two values look alike; but one value is another angle
  for each shape, so a code that follows the angle follows the factor only within a shape. To leave a factor
  out, pass `factors[:, keep]`. Where values do look alike, as in dSprites, no code can separate them.
- A factor with a single value is left out.
- A code whose variance over the data is at most `min_variance` has collapsed and counts as constant: the
  scores do not depend on scale and would find factors in its noise. The default, `COLLAPSED`, that of
  `active_units`, is meant for codes on the scale of N(0, I); pass 0 for others. For MIG the default is 0, as
  it was published.

Scores depend on the number of samples, bins and votes: compare like with like.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score, mutual_info_score
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

from vae_lib.metrics.shapes import check_shapes

COLLAPSED = 1e-2  # variance of a code, at most
_VOTES = 2000  # of the FactorVAE score, in either half of the rows


def _check_table(
    codes: ArrayLike, factors: ArrayLike, min_variance: float, min_factors: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 codes, 0 where collapsed, and the varying factors as category numbers from 0."""
    remedy = "Pass z_mean of the same images, and a single factor as `factors[:, None]`."
    codes, factors = check_shapes(remedy, codes=(codes, "n latent_dim>=2"), factors=(factors, "n n_factors"))
    if not np.issubdtype(factors.dtype, np.integer):
        raise ValueError(f"`factors` must hold integer categories; received {factors.dtype}. Pass indices.")
    categories = [np.unique(column, return_inverse=True)[1] for column in factors.T]
    varying = [column for column in categories if column.max() > 0]
    if len(varying) < min_factors:
        raise ValueError(
            f"`factors` needs {min_factors} or more columns with at least two values; received "
            f"{len(varying)} in shape {factors.shape}. Pass a table in which they vary."
        )
    codes = codes.astype(np.float64)
    return np.where(codes.var(axis=0) > min_variance, codes, 0.0), np.stack(varying, axis=1)


def _mean_gap(scores: np.ndarray) -> float:
    """Mean over factors of best minus second-best code, for scores (latent_dim, n_factors)."""
    ordered = np.sort(scores, axis=0)
    return float(np.mean(ordered[-1] - ordered[-2]))


def mig(codes: ArrayLike, factors: ArrayLike, n_bins: int = 20, min_variance: float = 0.0) -> float:
    """Mutual information gap: how much more the best code says about a factor than the second best.

    Codes are cut into `n_bins` bins of equal width between their extremes, so a factor with more values than
    bins cannot reach 1. Mutual information from counts is biased upwards, by about (n_bins - 1)
    (n_values - 1) / 2n nats; the bias cancels in the gap as far as both codes share it.

    Args:
        codes: Posterior means, shape (n, latent_dim), latent_dim at least 2.
        factors: Integer categories, shape (n, n_factors).
        n_bins: Bins of a code.
        min_variance: Codes that vary no more than this count as constant. At 0 all codes count, as published;
            with `COLLAPSED` the gap is larger, since what is left of a collapsed code is no runner-up.

    Returns:
        The gap as a share of the factor's entropy, mean over factors, 0 to 1. Higher is better.
    Source: Chen et al. 2018, arXiv:1802.04942, section 4; bins: Locatello et al. 2019, arXiv:1811.12359.
    """
    information, entropy = mutual_information(codes, factors, n_bins, min_variance)
    return _mean_gap(information / entropy)


def mutual_information(
    codes: ArrayLike, factors: ArrayLike, n_bins: int = 20, min_variance: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the two parts of `mig`, in nats; arguments and errors are the same.

    Returns:
        The mutual information of each code and factor, shape (latent_dim, n_factors), and the entropy of each
        factor, (n_factors,); factors that do not vary are left out.
    """
    codes, factors = _check_table(codes, factors, min_variance)
    binned = [np.digitize(code, np.histogram_bin_edges(code, n_bins)[1:-1]) for code in codes.T]
    information = np.array([[mutual_info_score(f, b) for f in factors.T] for b in binned])
    return information, np.array([stats.entropy(np.bincount(f)) for f in factors.T])


def sap(codes: ArrayLike, factors: ArrayLike, min_variance: float = COLLAPSED, seed: int = 0) -> float:
    """Separated attribute predictability: the gap in how well single codes classify a factor.

    A code alone predicts a factor by thresholds, one fewer than the factor has values, set greedily by a
    decision tree on half of the rows and scored on the other half by balanced accuracy. This is the paper's
    rule for discrete factors; disentanglement_lib puts a linear SVM in its place, so its values differ.

    Args:
        codes: Posterior means, shape (n, latent_dim), latent_dim at least 2.
        factors: Integer categories, shape (n, n_factors).
        min_variance: Codes that vary no more than this count as constant.
        seed: Seed of the split into halves.

    Returns:
        Best minus second-best accuracy, mean over factors, 0 to 1 - 1 / n_values. Higher is better.
    Source: Kumar et al. 2018, arXiv:1711.00848, section 3.
    """
    codes, factors = _check_table(codes, factors, min_variance)
    train, test = train_test_split(np.arange(len(codes)), test_size=0.5, random_state=seed)

    def accuracy(code: np.ndarray, factor: np.ndarray) -> float:
        tree = DecisionTreeClassifier(
            max_leaf_nodes=factor.max() + 1, class_weight="balanced", random_state=seed
        )
        tree.fit(code[train, None], factor[train])
        return balanced_accuracy_score(factor[test], tree.predict(code[test, None]))

    return _mean_gap(np.array([[accuracy(code, factor) for factor in factors.T] for code in codes.T]))


def dci(
    codes: ArrayLike, factors: ArrayLike, n_trees: int = 50, min_variance: float = COLLAPSED, seed: int = 0
) -> dict[str, float]:
    """Disentanglement, completeness and informativeness from the importances of random forests.

    One forest for each factor is fitted to half of the rows; its impurity-based importances make the matrix
    (latent_dim, n_factors) of which code serves which factor. Every split may look at all codes, and the
    size of the leaves is chosen by out-of-bag accuracy, or splits on noise would earn importance: the
    paper tunes the depth instead. disentanglement_lib boosts 100 trees for each value: its values differ.

    Args:
        codes: Posterior means, shape (n, latent_dim), latent_dim at least 2.
        factors: Integer categories, shape (n, n_factors), at least two that vary.
        n_trees: Trees of each forest, at least 20 or some rows are never out of bag.
        min_variance: Codes that vary no more than this count as constant.
        seed: Seed of the split into halves and of the forests.

    Returns:
        disentanglement: 1 if each code serves one factor, weighted by the code's total importance.
        completeness: 1 if each factor is served by one code, mean over factors.
        informativeness: Accuracy on the other half, mean over factors; chance is not 0.
        All 0 to 1. Higher is better.
    Source: Eastwood & Williams 2018, "A framework for the quantitative evaluation of disentangled
        representations", ICLR, section 2.
    """
    codes, factors = _check_table(codes, factors, min_variance, min_factors=2)
    train, test = train_test_split(np.arange(len(codes)), test_size=0.5, random_state=seed)
    importance, accuracy = np.zeros((codes.shape[1], factors.shape[1])), []
    for j, factor in enumerate(factors.T):
        forest = _tuned_forest(codes[train], factor[train], n_trees, seed)
        importance[:, j] = forest.feature_importances_
        accuracy.append(forest.score(codes[test], factor[test]))
    by_code = _concentration(importance)
    weight = importance.sum(axis=1)
    return {
        "disentanglement": float(by_code @ weight / max(weight.sum(), 1e-12)),
        "completeness": float(_concentration(importance.T).mean()),
        "informativeness": float(np.mean(accuracy)),
    }


def _tuned_forest(codes: np.ndarray, factor: np.ndarray, n_trees: int, seed: int) -> RandomForestClassifier:
    """Fit a forest with the leaf size of best out-of-bag accuracy; of equals, the largest."""
    forests = [
        RandomForestClassifier(
            n_trees, max_features=None, min_samples_leaf=rows, oob_score=True, random_state=seed
        ).fit(codes, factor)
        for rows in (50, 10, 2)
    ]
    return max(forests, key=lambda forest: forest.oob_score_)


def _concentration(importance: np.ndarray) -> np.ndarray:
    """One minus the relative entropy of each row to uniform: 1 for one-hot, 0 for uniform or all zero."""
    uniform = np.where(importance.sum(axis=1, keepdims=True) > 0.0, importance, 1.0)
    return np.maximum(0.0, 1.0 - stats.entropy(uniform, axis=1, base=importance.shape[1]))


def factor_vae_score(
    codes: ArrayLike, factors: ArrayLike, batch_size: int = 64, min_variance: float = COLLAPSED, seed: int = 0
) -> float:
    """Accuracy with which the code that varies least names the factor that was held fixed.

    A vote takes `batch_size` rows that share one value of one factor and names the code with the smallest
    variance among them, relative to its variance over the table. Each code is then assigned the factor it
    votes for most, and held-out votes are scored. Half of the rows make the votes that assign, the
    other half those that score; disentanglement_lib renders new images for every vote instead.
    Values of a factor with fewer than `batch_size` rows in a half are left out.

    Args:
        codes: Posterior means, shape (n, latent_dim), latent_dim at least 2.
        factors: Integer categories, shape (n, n_factors), at least two that vary.
        batch_size: Rows behind one vote.
        min_variance: Codes that vary no more than this count as constant.
        seed: Seed of the split and of the votes.

    Returns:
        Accuracy on held-out votes: 1 at best, 1 / n_factors by chance, 0 where every code is pruned.

    Raises:
        ValueError: Also if no value of a factor is shared by `batch_size` rows in each half.
    Source: Kim & Mnih 2018, arXiv:1802.05983, section 4.
    """
    codes, factors = _check_table(codes, factors, min_variance, min_factors=2)
    deviation = codes.std(axis=0)
    if not deviation.any():
        return 0.0
    codes = codes[:, deviation > 0.0] / deviation[deviation > 0.0]
    rng = np.random.default_rng(seed)
    halves = np.array_split(rng.permutation(len(codes)), 2)
    counts, held_out = (_votes(codes[h], factors[h], batch_size, rng) for h in halves)
    majority = counts.argmax(axis=1)
    return float(held_out[np.arange(len(majority)), majority].sum() / _VOTES)


def _votes(codes: np.ndarray, factors: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """Count the votes of every code for every factor, shape (latent_dim, n_factors)."""
    groups = [
        [rows for value in np.unique(factor) if len(rows := np.flatnonzero(factor == value)) >= batch_size]
        for factor in factors.T
    ]
    if batch_size < 2 or not all(groups):
        raise ValueError(
            f"A factor has no value with `batch_size` rows in half of the table; received batch_size "
            f"{batch_size} for {len(codes)} rows. Pass more rows, or a batch_size of at least 2 but smaller."
        )
    counts = np.zeros((codes.shape[1], factors.shape[1]), dtype=np.int64)
    for fixed in rng.integers(len(groups), size=_VOTES):
        group = groups[fixed][rng.integers(len(groups[fixed]))]
        rows = rng.choice(group, size=batch_size, replace=False)
        counts[codes[rows].var(axis=0).argmin(), fixed] += 1
    return counts
