"""Oracles: separable classes give 1, scrambled labels chance, and each reader sees only what it can."""

import numpy as np
import pytest

from vae_lib.metrics import probes

READERS = [probes.knn_accuracy, probes.linear_probe_accuracy]


def blobs(n: int, seed: int, distance: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Four Gaussian classes in the corners of a square."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=n)
    corners = distance * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    return corners[labels] + rng.normal(size=(n, 2)), labels


@pytest.mark.parametrize("reader", READERS)
def test_separable_classes_are_read_without_error(reader):
    assert reader(*blobs(300, seed=0), *blobs(200, seed=1)) == 1.0


@pytest.mark.parametrize("reader", READERS)
def test_scrambled_labels_are_read_at_chance(reader):
    train_codes, train_labels = blobs(2000, seed=0)
    scrambled = np.random.default_rng(2).permutation(train_labels)
    assert reader(train_codes, scrambled, *blobs(2000, seed=1)) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("reader", READERS)
def test_collapsed_codes_are_read_at_chance(reader):
    (_, train_labels), (_, test_labels) = blobs(400, seed=0), blobs(400, seed=1)
    accuracy = reader(np.zeros((400, 2)), train_labels, np.zeros((400, 2)), test_labels)
    assert accuracy == pytest.approx(0.25, abs=0.07)


@pytest.mark.parametrize("reader", READERS)
def test_the_score_is_that_of_the_test_codes(reader):
    """Learnt perfectly, then asked about classes whose names are exchanged: nothing may be right."""
    test_codes, test_labels = blobs(200, seed=1)
    assert reader(*blobs(300, seed=0), test_codes, (test_labels + 1) % 4) == 0.0


def test_rings_are_read_by_neighbours_but_not_by_a_line():
    rng = np.random.default_rng(0)
    labels, angle = rng.integers(2, size=1000), rng.uniform(0, 2 * np.pi, size=1000)
    codes = (1.0 + 2.0 * labels)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    split = codes[:500], labels[:500], codes[500:], labels[500:]
    assert probes.knn_accuracy(*split) == 1.0
    assert probes.linear_probe_accuracy(*split) < 0.65


def test_knn_distances_count_spread_and_the_probe_scales_it_away():
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=1000)
    codes = np.stack([1e-3 * labels, rng.normal(size=1000)], axis=1)  # the class sits in a tiny latent
    split = codes[:500], labels[:500], codes[500:], labels[500:]
    assert probes.linear_probe_accuracy(*split) == 1.0
    assert probes.knn_accuracy(*split) < 0.65


def test_every_vote_of_knn_counts():
    train_codes, train_labels = np.array([[0.0], [1.0], [1.1], [9.0]]), np.array([0, 1, 1, 0])
    assert probes.knn_accuracy(train_codes, train_labels, [[0.1]], [0], n_neighbors=1) == 1.0
    assert probes.knn_accuracy(train_codes, train_labels, [[0.1]], [0], n_neighbors=3) == 0.0


def test_trustworthiness_of_a_copy_is_one_and_of_noise_about_a_half():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(400, 3))
    assert probes.trustworthiness(codes, 5.0 * codes + 1.0) == 1.0
    assert probes.trustworthiness(codes, rng.normal(size=(400, 2))) == pytest.approx(0.5, abs=0.05)


def test_trustworthiness_looks_for_neighbours_in_the_embedding():
    """A line folded in two draws strangers side by side; a line torn in two does not."""
    line = np.arange(100.0)[:, None]
    folded, torn = np.minimum(line, 99.25 - line), line + 1000.0 * (line > 49)
    assert probes.trustworthiness(line, folded) < 0.8
    assert probes.trustworthiness(line, torn) > 0.99


@pytest.mark.parametrize("reader", READERS)
def test_bad_shapes_are_refused(reader):
    codes, labels = blobs(20, seed=0)
    with pytest.raises(ValueError, match=r"train_codes \(20, 2\), train_labels \(19,\).*z_mean"):
        reader(codes, labels[:-1], codes, labels)
    with pytest.raises(ValueError, match=r"test_codes \(20,\), test_labels \(20,\)"):
        reader(codes, labels, codes[:, 0], labels)
    with pytest.raises(ValueError, match=r"\(20, 2\).*test_codes \(20, 1\).*same model"):
        reader(codes, labels, codes[:, :1], labels)


def test_bad_neighbourhoods_are_refused():
    codes, labels = blobs(20, seed=0)
    with pytest.raises(ValueError, match=r"`train_codes` \(n >= 21.*train_codes \(20, 2\)"):
        probes.knn_accuracy(codes, labels, codes, labels, n_neighbors=21)
    with pytest.raises(ValueError, match=r"`codes` \(n >= 21.*codes \(20, 2\).*n_neighbors"):
        probes.trustworthiness(codes, codes, n_neighbors=10)
    with pytest.raises(ValueError, match=r"codes \(20, 2\), embedding \(19, 2\)"):
        probes.trustworthiness(codes, codes[:-1])
