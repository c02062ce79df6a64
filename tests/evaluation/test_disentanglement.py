"""The scores on codes whose answer is known."""

import numpy as np
import pytest

from tinyinfogan.evaluation import disentanglement as scores

SIZES = (3, 6, 8, 8)


@pytest.fixture(scope="module")
def factors():
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(size, size=6000) for size in SIZES], axis=1)


def known(name, factors):
    """Codes (N, D): perfect ones, and those perfect ones spoilt in a known way."""
    rng = np.random.default_rng(1)
    perfect = (factors + 0.5) / np.array(SIZES) * 2 - 1
    if name == "permuted":  # other order, sign and scale, and a code too many
        columns = [
            -3 * perfect[:, 2],
            perfect[:, 0],
            0 * perfect[:, 0],
            perfect[:, 3],
            0.1 * perfect[:, 1],
        ]
        return np.stack(columns, axis=1)
    if name == "entangled":  # turned by 45 degrees in both of its planes, and again across them
        turn = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
        return perfect @ np.kron(turn, turn)
    if name == "random":
        return rng.uniform(-1, 1, perfect.shape)
    return np.ones_like(perfect) if name == "constant" else perfect


def factor_vae(codes, factors):
    return scores.factor_vae_score(codes, factors, np.random.default_rng(2), votes=200, batch=50)


MEASURES = {
    # name: (function, lowest for perfect and permuted, highest for entangled, random, constant)
    "MIG": (scores.mutual_information_gap, 0.99, 0.15, 0.02, 0.0),
    "FactorVAE": (factor_vae, 1.0, 0.75, 0.45, 0.25),
    "SAP": (scores.separated_attribute_predictability, 0.99, 0.15, 0.02, 0.0),
}


@pytest.mark.parametrize("name", MEASURES)
def test_codes_whose_answer_is_known(name, factors):
    measure, perfect, entangled, random, constant = MEASURES[name]
    assert measure(known("perfect", factors), factors) >= perfect
    assert measure(known("permuted", factors), factors) >= perfect
    assert measure(known("entangled", factors), factors) <= entangled
    assert measure(known("random", factors), factors) <= random
    assert measure(known("constant", factors), factors) <= constant


def test_factor_vae_compares_codes_in_their_own_units(factors):
    noise = 0.1 * np.random.default_rng(3).standard_normal(factors.shape)
    codes = (known("perfect", factors) + noise) * (100, 1, 0.01, 3)
    assert factor_vae(codes, factors) > 0.99


def test_dci_of_codes_whose_answer_is_known(factors):
    pytest.importorskip("sklearn")
    few = factors[:1500]

    def dci(name):
        return np.array([*scores.dci(known(name, few), few).values()])

    assert (dci("perfect") > (0.98, 0.98, 0.98)).all()
    assert (dci("permuted") > (0.98, 0.98, 0.98)).all()
    assert (dci("entangled") < (0.5, 0.5, 0.95)).all()
    assert (dci("random") < (0.1, 0.1, 0.05)).all()
    assert (dci("constant") <= (0, 0, 0)).all()


def test_dci_has_a_tree_of_its_own_depth_for_each_factor(factors):
    pytest.importorskip("sklearn")
    few, codes = factors[:1500, 2:], known("perfect", factors)[:1500, 2:]
    # A tree of one question explains 3/4 of the variance of equal shares.
    assert scores.dci(codes, few, [1, 1])["informativeness"] == pytest.approx(0.76, abs=0.03)
    assert scores.dci(codes, few, [1, 4])["informativeness"] == pytest.approx(0.88, abs=0.03)
    fixed = np.concatenate([np.zeros((1500, 1), int), few], axis=1)  # is left out, depth and all
    assert scores.dci(codes, fixed, [9, 1, 4]) == scores.dci(codes, few, [1, 4])


def test_modularity_counts_codes_that_know_one_factor(factors):
    assert scores.modularity(known("perfect", factors), factors) > 0.999
    assert scores.modularity(known("permuted", factors), factors) == pytest.approx(4 / 5, abs=1e-3)
    assert scores.modularity(known("entangled", factors), factors) < 0.8
    assert scores.modularity(known("constant", factors), factors) == 0
    # A code of two factors of equal entropy, of F = 4: 1 - 1 / 3.
    both = factors[:, 2] + 8.0 * factors[:, 3]
    assert scores.modularity(both[:, None], factors, bins=64) == pytest.approx(2 / 3, abs=0.01)


def test_one_factor_in_two_codes_lowers_mig_and_completeness_but_not_modularity(factors):
    codes = np.concatenate([known("perfect", factors)] * 2, axis=1)
    assert scores.mutual_information_gap(codes, factors) == pytest.approx(0, abs=1e-9)
    assert scores.separated_attribute_predictability(codes, factors) == pytest.approx(0, abs=1e-9)
    assert scores.modularity(codes, factors) > 0.999


def test_two_factors_in_one_code_lower_disentanglement(factors):
    pytest.importorskip("sklearn")
    codes = (factors[:, 2] + 8.0 * factors[:, 3])[:, None]
    codes = np.concatenate([codes, known("perfect", factors)[:, :2]], axis=1)
    result = scores.dci(codes[:1500], factors[:1500])
    assert result["disentanglement"] < 0.8
    assert result["completeness"] > 0.95
    assert result["informativeness"] > 0.8


def test_levels_number_few_values_and_cut_many(rng):
    assert scores.levels(np.array([9.5, -1.0, 9.5, 0.0])).tolist() == [2, 0, 2, 1]
    assert scores.levels(np.arange(40) * 9).tolist() == list(range(40))
    cut = scores.levels(rng.permutation(np.arange(100.0)))
    assert np.bincount(cut).tolist() == [5] * 20
    assert scores.levels(np.array([0.0, 1, 2, 10]), bins=2, most=3).tolist() == [0, 0, 0, 1]


def test_mutual_information_of_a_table_done_by_hand():
    # p(c, v) = 3/8 on the diagonal, 1/8 off it.
    codes = np.repeat([0, 0, 1, 1], [3, 1, 1, 3])[:, None]
    factors = np.repeat([0, 1, 0, 1], [3, 1, 1, 3])[:, None]
    information, entropies = scores.mutual_information(codes, factors)
    assert information[0, 0] == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    assert entropies[0] == pytest.approx(np.log(2))


def test_bins_decide_how_finely_a_code_is_read():
    code = np.linspace(0, 1, 4000)[:, None]
    factor = np.minimum(code * 8, 7).astype(int)
    for bins, nats in ((8, np.log(8)), (4, np.log(4)), (2, np.log(2))):
        information, _ = scores.mutual_information(code, factor, bins)
        assert information[0, 0] == pytest.approx(nats, abs=0.01)


def test_sap_of_a_factor_without_order(factors):
    """Values of a code that name the shape, in an order that a line cannot follow."""
    code = np.array([0.0, 1.0, 0.0])[factors[:, 0]] + np.array([0, 0, 0.1])[factors[:, 0]]
    one = factors[:, :1]
    assert scores.separated_attribute_predictability(code[:, None], one) < 0.1
    found = scores.separated_attribute_predictability(code[:, None], one, categorical=(0,))
    assert found == pytest.approx(1)
    # Next to a constant factor, which is left out, the column keeps its number.
    two = np.concatenate([np.zeros_like(one), one], axis=1)
    assert scores.separated_attribute_predictability(code[:, None], two, categorical=(1,)) == found


def test_a_factor_that_never_varies_is_left_out(factors):
    codes = known("perfect", factors)
    fixed = factors.copy()
    fixed[:, 0] = 1
    assert scores.mutual_information_gap(codes[:, 1:], fixed) > 0.99
    assert scores.factor_vae_score(codes, fixed, np.random.default_rng(0), votes=60) == 1
