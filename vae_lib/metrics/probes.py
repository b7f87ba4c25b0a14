"""Representation: what a simple classifier reads off the codes.

It is fitted on the codes of training images and scored on those of held-out ones. Use z_mean for
both, and give chance (the share of the largest class) beside every accuracy. Arguments that do not fit
together raise a ValueError that names their shapes.
"""

from numpy.typing import ArrayLike
from sklearn import manifold
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vae_lib.metrics.shapes import check_shapes


def _held_out_accuracy(reader, *tables: ArrayLike, at_least: int = 1) -> float:
    """Fit a scikit-learn classifier on training codes and labels, and score it on test codes and labels."""
    names = ("train_codes", "train_labels", "test_codes", "test_labels")
    axes = (f"n>={at_least} latent_dim", "n", "m latent_dim", "m")
    remedy = "Pass z_mean and integer labels of the same images, all encoded by the same model."
    tables = check_shapes(remedy, **dict(zip(names, zip(tables, axes, strict=True), strict=True)))
    return float(reader.fit(*tables[:2]).score(*tables[2:]))


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
    """
    tables = train_codes, train_labels, test_codes, test_labels
    return _held_out_accuracy(KNeighborsClassifier(n_neighbors), *tables, at_least=n_neighbors)


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
    Source: Venna & Kaski 2001, "Neighborhood preservation in nonlinear projection methods".
    """
    codes, embedding = check_shapes(
        "Pass the rows that were embedded, in that order, and more than twice `n_neighbors` of them.",
        codes=(codes, f"n>={2 * n_neighbors + 1} latent_dim"),
        embedding=(embedding, "n n_components"),
    )
    return float(manifold.trustworthiness(codes, embedding, n_neighbors=n_neighbors))
