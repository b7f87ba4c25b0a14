"""Oracles: perfect, rotated, constant, collapsed, duplicated and noisy codes, scrambled labels."""

from functools import partial

import numpy as np
import pytest
from scipy import stats

from vae_lib.metrics import disentanglement
from vae_lib.metrics.disentanglement import COLLAPSED, factor_vae_score, mig, mutual_information, sap

N = 2000
SIZES = (3, 4, 6)  # values of each factor
RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(size, size=N) for size in SIZES], axis=1)
STANDARD = (FACTORS - FACTORS.mean(axis=0)) / FACTORS.std(axis=0)
PERFECT = np.hstack([STANDARD, RNG.normal(size=(N, 2))])[:, [3, 0, 4, 2, 1]]  # two codes of pure noise
NOISY = PERFECT + 0.3 * RNG.normal(size=PERFECT.shape)
ROTATED = PERFECT @ np.linalg.qr(RNG.normal(size=(5, 5)))[0]
DUPLICATED = np.hstack([PERFECT, PERFECT])
SCRAMBLED = RNG.permuted(FACTORS, axis=0)
dci = partial(disentanglement.dci, n_trees=20)
SCORES = pytest.mark.parametrize("score", [mig, sap, dci, factor_vae_score], ids=["mig", "sap", "dci", "vae"])


def scores(codes: np.ndarray, factors: np.ndarray = FACTORS) -> dict[str, float]:
    """Every score by name."""
    return {
        "mig": mig(codes, factors),
        "sap": sap(codes, factors),
        "factor_vae": factor_vae_score(codes, factors),
        **dci(codes, factors),
    }


@pytest.fixture(scope="module")
def perfect() -> dict[str, float]:
    return scores(PERFECT)


@pytest.fixture(scope="module")
def rotated() -> dict[str, float]:
    return scores(ROTATED)


def test_a_code_that_is_a_factor_tells_all_of_it_and_nothing_of_another():
    factors = np.stack(np.meshgrid(np.arange(4), np.arange(3), indexing="ij"), axis=-1).reshape(-1, 2)
    factors = np.repeat(factors, 50, axis=0)
    information, entropy = mutual_information(factors.astype(float), factors)
    np.testing.assert_allclose(entropy, np.log([4, 3]))
    np.testing.assert_allclose(information, np.diag(entropy), atol=1e-12)


def test_perfect_codes_reach_the_top(perfect):
    assert perfect["mig"] > 0.97
    assert perfect["sap"] == pytest.approx(np.mean([1 - 1 / size for size in SIZES]), abs=0.05)
    assert perfect["factor_vae"] == 1.0
    assert min(perfect[key] for key in ("disentanglement", "completeness", "informativeness")) > 0.97


def test_rotated_codes_score_lower_on_everything(perfect, rotated):
    assert all(rotated[key] < perfect[key] - 0.05 for key in perfect)
    assert rotated["mig"] < 0.15
    assert rotated["sap"] < 0.2
    assert rotated["disentanglement"] < 0.5


def test_noisy_codes_lie_between_rotated_and_perfect(perfect, rotated):
    noisy = scores(NOISY)
    for key in ("mig", "sap", "disentanglement", "completeness"):
        assert rotated[key] < noisy[key] < perfect[key], key


@pytest.mark.parametrize("codes", [np.ones_like(PERFECT), 1e-3 * PERFECT], ids=["constant", "collapsed"])
def test_constant_and_collapsed_codes_score_zero(codes):
    found = scores(codes)
    assert found.pop("informativeness") == pytest.approx(np.mean([1 / size for size in SIZES]), abs=0.05)
    found["mig"] = mig(codes, FACTORS, min_variance=COLLAPSED)
    assert found == dict.fromkeys(found, 0.0)  # NaN would not be equal


def test_the_published_mig_ignores_the_scale_and_counts_what_collapsed_codes_know(perfect):
    assert mig(1e-3 * PERFECT, FACTORS) == pytest.approx(perfect["mig"])
    copied = np.column_stack([PERFECT, 1e-3 * PERFECT])  # every factor is known twice
    assert mig(copied, FACTORS) == pytest.approx(0.0, abs=1e-12)
    assert mig(copied, FACTORS, min_variance=COLLAPSED) == pytest.approx(perfect["mig"])


def test_duplicated_codes_lose_their_gap_and_completeness_but_not_disentanglement(perfect):
    duplicated = scores(DUPLICATED)
    assert duplicated["mig"] == pytest.approx(0.0, abs=1e-12)
    assert duplicated["sap"] == pytest.approx(0.0, abs=1e-12)
    assert duplicated["completeness"] < perfect["completeness"] - 0.2
    assert duplicated["disentanglement"] > 0.97
    assert duplicated["factor_vae"] == 1.0


def test_one_code_for_two_factors_loses_disentanglement_but_not_completeness():
    shared = np.stack([FACTORS[:, 0] + 3 * FACTORS[:, 1], FACTORS[:, 2]], axis=1).astype(float)
    found = dci(np.hstack([shared, np.zeros((N, 1))]), FACTORS)
    assert found["completeness"] > 0.95
    assert found["disentanglement"] < 0.75
    assert found["informativeness"] > 0.97


def test_scrambled_labels_score_at_chance():
    found = scores(NOISY, SCRAMBLED)
    for key in ("mig", "sap", "disentanglement"):
        assert found[key] < 0.05, key
    assert found["completeness"] < 0.15
    assert found["informativeness"] == pytest.approx(np.mean([1 / size for size in SIZES]), abs=0.05)
    assert found["factor_vae"] == pytest.approx(1 / 3, abs=0.08)


@SCORES
def test_order_and_naming_of_codes_and_factors_do_not_matter(score):
    renamed = (FACTORS.max(axis=0) - FACTORS)[:, ::-1] * 10 - 7  # reversed, with gaps and negative
    expected = score(NOISY, FACTORS)
    assert score(-NOISY[:, ::-1], renamed) == pytest.approx(expected, abs=0.03)


@SCORES
def test_a_factor_with_one_value_is_left_out(score):
    constant = np.full((N, 1), 4)
    assert score(NOISY, np.hstack([FACTORS, constant])) == score(NOISY, FACTORS)


@pytest.mark.parametrize("score", [sap, dci, factor_vae_score], ids=["sap", "dci", "vae"])
def test_scores_are_fixed_by_their_seed(score):
    first, again, other = (score(ROTATED[:1000], FACTORS[:1000], seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_mig_is_the_gap_in_closed_form():
    """One code knows a fair bit wholly, another through a channel that flips it with probability 0.1."""
    bit = np.arange(N) % 2
    flipped = np.where(np.arange(N) // 2 % 10 == 0, 1 - bit, bit)
    codes, factors = np.stack([bit, flipped], axis=1), bit[:, None]
    assert mig(codes, factors) == pytest.approx(stats.entropy([0.1, 0.9], base=2))


def test_mig_cannot_reach_one_with_more_values_than_bins():
    factor = np.repeat(np.arange(40), 50)
    codes = np.stack([factor, np.zeros(N)], axis=1)
    assert mig(codes, factor[:, None], n_bins=20) == pytest.approx(np.log(20) / np.log(40))


def test_sap_is_the_gap_in_balanced_accuracy_in_closed_form():
    """A rare value, always shown by the code, and shown falsely for 0.2 of the rest: accuracy 1 and 0.8."""
    factor = np.arange(N) % 10 == 0
    code = factor | (np.arange(N) // 10 % 5 == 0)  # a rule by plain accuracy would never name the rare value
    codes = np.stack([code, np.zeros(N)], axis=1).astype(float)
    assert sap(codes, factor[:, None].astype(int)) == pytest.approx(0.9 - 0.5, abs=0.03)


def test_sap_follows_values_that_are_not_in_order():
    factor = FACTORS[:, 2]
    codes = np.stack([np.array([0.0, 3.0, 1.0, 5.0, 2.0, 4.0])[factor], np.zeros(N)], axis=1)
    assert sap(codes, factor[:, None]) == pytest.approx(1 - 1 / 6)


def test_sap_is_scored_on_held_out_rows():
    rng = np.random.default_rng(0)
    codes, factors = np.stack([rng.normal(size=400), np.zeros(400)], axis=1), rng.integers(20, size=(400, 5))
    assert sap(codes, factors) < 0.05  # 0.2 on the rows that set the thresholds


def test_dci_gives_noise_little_importance():
    """Fine values, blurred: trees that split on to single rows would credit codes of pure noise."""
    rng = np.random.default_rng(0)
    factors = rng.integers(20, size=(N, 2))
    codes = np.hstack([factors / 20 + rng.normal(0.0, 0.1, size=(N, 2)), rng.normal(size=(N, 4))])
    assert dci(codes, factors, min_variance=0.0)["disentanglement"] > 0.6


def test_concentration_is_one_minus_relative_entropy():
    rows = np.array([[0.0, 2.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(disentanglement._concentration(rows), [1.0, 0.0, 0.5, 0.0], atol=1e-12)


def test_factor_vae_normalises_the_variance():
    """A small code that ignores the fixed factor must not win over a large one that follows it."""
    codes = NOISY * np.array([0.2, 5.0, 0.2, 5.0, 5.0])
    assert factor_vae_score(codes, FACTORS) == factor_vae_score(NOISY, FACTORS) > 0.97


def test_factor_vae_leaves_out_values_too_rare_for_a_vote():
    factors = np.where(np.arange(N)[:, None] < 20, 9, FACTORS)
    assert factor_vae_score(PERFECT, factors) > 0.97


@SCORES
@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (PERFECT[:, 0], FACTORS, r"received codes \(2000,\), factors \(2000, 3\)"),
        (PERFECT, FACTORS[:, 0], r"factors \(2000,\)\. .*a single factor"),
        (PERFECT[:-1], FACTORS, r"codes \(1999, 5\), factors \(2000, 3\)"),
        (PERFECT[:, :1], FACTORS, r"latent_dim >= 2.*\(2000, 1\)"),
        (PERFECT, STANDARD, r"integer categories; received float64"),
        (PERFECT, np.zeros_like(FACTORS), r"two values; received 0"),
    ],
)
def test_bad_tables_are_refused(score, codes, factors, message):
    with pytest.raises(ValueError, match=message):
        score(codes, factors)


@pytest.mark.parametrize("score", [dci, factor_vae_score], ids=["dci", "vae"])
def test_scores_that_compare_factors_need_two(score):
    with pytest.raises(ValueError, match=r"needs 2 or more.*received 1"):
        score(PERFECT, FACTORS[:, :1])


def test_factor_vae_says_when_the_table_is_too_small_for_its_votes():
    with pytest.raises(ValueError, match=r"batch_size 64 for 50 rows.*smaller"):
        factor_vae_score(PERFECT[:100], FACTORS[:100])
