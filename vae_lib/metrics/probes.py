"""Representation: what a simple reader gets out of the codes.

A reader is fitted on the codes of training images and scored on those of held-out ones. Use z_mean for
both, and give chance (the share of the largest class) beside every accuracy.
"""

import numpy as np
from numpy.typing import ArrayLike
from sklearn import manifold
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def _check_codes(codes: np.ndarray, labels: np.ndarray, split: str) -> None:
    """Raise a ValueError unless `codes` and `labels` fit together."""
    if codes.ndim != 2 or codes.size == 0 or labels.shape != codes.shape[:1]:
        raise ValueError(
            f"{split} codes must be (n, latent_dim) with labels (n,); received {codes.shape} and "
            f"{labels.shape}. Pass z_mean and integer labels of the same images."
        )


def _held_out_accuracy(
    reader, train_codes: ArrayLike, train_labels: ArrayLike, test_codes: ArrayLike, test_labels: ArrayLike
) -> float:
    """Fit a scikit-learn classifier on the training codes and score it on the test codes."""
    train_codes, test_codes = np.asarray(train_codes), np.asarray(test_codes)
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    _check_codes(train_codes, train_labels, "Training")
    _check_codes(test_codes, test_labels, "Test")
    if train_codes.shape[1] != test_codes.shape[1]:
        raise ValueError(
            f"Training and test codes must have one latent_dim; received {train_codes.shape} and "
            f"{test_codes.shape}. Encode both with the same model."
        )
    return float(reader.fit(train_codes, train_labels).score(test_codes, test_labels))


def knn_accuracy(
    train_codes: ArrayLike,
    train_labels: ArrayLike,
    test_codes: ArrayLike,
    test_labels: ArrayLike,
    n_neighbors: int = 10,
) -> float:
    """Accuracy of a majority vote among the nearest training codes: are neighbours of one class?

    Distances are Euclidean in the codes as they are: a latent counts by its spread.

    Args:
        train_codes: Codes to look up, shape (n, latent_dim).
        train_labels: Their classes, shape (n,).
        test_codes: Codes to classify, shape (m, latent_dim).
        test_labels: Their true classes, shape (m,).
        n_neighbors: Votes, at most n.

    Returns:
        Share of test codes classified rightly, 0 to 1. Higher is better.

    Raises:
        ValueError: If the shapes do not fit or `n_neighbors` exceeds n.
    """
    if not 1 <= n_neighbors <= len(train_codes):
        raise ValueError(
            f"`n_neighbors` must be 1 to the number of training codes; received {n_neighbors} for "
            f"{len(train_codes)} codes. Lower it or pass more codes."
        )
    reader = KNeighborsClassifier(n_neighbors)
    return _held_out_accuracy(reader, train_codes, train_labels, test_codes, test_labels)


def linear_probe_accuracy(
    train_codes: ArrayLike, train_labels: ArrayLike, test_codes: ArrayLike, test_labels: ArrayLike
) -> float:
    """Accuracy of multinomial logistic regression on standardised codes: is the class linear in z?

    The L2 penalty is scikit-learn's default, C = 1, which hardly matters with many more codes than latents.
    Every latent is scaled to variance 1 first, so a nearly collapsed latent is read like any other.

    Args:
        train_codes: Codes to fit on, shape (n, latent_dim).
        train_labels: Their classes, shape (n,), at least two of them.
        test_codes: Codes to classify, shape (m, latent_dim).
        test_labels: Their true classes, shape (m,).

    Returns:
        Share of test codes classified rightly, 0 to 1. Higher is better.

    Raises:
        ValueError: If the shapes do not fit or there is one class only.
    Source: Alain & Bengio 2017, arXiv:1610.01644, section 3.
    """
    reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return _held_out_accuracy(reader, train_codes, train_labels, test_codes, test_labels)


def trustworthiness(codes: ArrayLike, embedding: ArrayLike, n_neighbors: int = 10) -> float:
    """How far neighbours in an embedding, such as t-SNE, are neighbours among the codes.

    Intruders into a neighbourhood are penalised by their rank among the codes. 1 means none; a random
    embedding gives about 0.5. It depends on n, and memory grows as n^2: pass at most some 5,000 rows.

    Args:
        codes: The original points, shape (n, latent_dim).
        embedding: Where they are drawn, shape (n, n_components).
        n_neighbors: Size of a neighbourhood, below n / 2.

    Returns:
        Trustworthiness, 0 to 1. Higher is better.

    Raises:
        ValueError: If the shapes do not fit or `n_neighbors` is too large.
    Source: Venna & Kaski 2001, "Neighborhood preservation in nonlinear projection methods".
    """
    codes, embedding = np.asarray(codes), np.asarray(embedding)
    if codes.ndim != 2 or embedding.ndim != 2 or len(codes) != len(embedding):
        raise ValueError(
            f"`codes` and `embedding` must be (n, latent_dim) and (n, n_components); received {codes.shape} "
            f"and {embedding.shape}. Pass the rows that were embedded, in that order."
        )
    if not 1 <= n_neighbors < len(codes) / 2:
        raise ValueError(
            f"`n_neighbors` must be 1 to below n / 2; received {n_neighbors} for {len(codes)} codes. "
            "Lower it or embed more codes."
        )
    return float(manifold.trustworthiness(codes, embedding, n_neighbors=n_neighbors))
