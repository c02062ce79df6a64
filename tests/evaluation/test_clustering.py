"""Metrics against brute force and against cases whose answer is plain."""

import itertools
import sys

import numpy as np
import pytest

from tinyinfogan import data
from tinyinfogan.evaluation import clustering


def best_count_by_trying_all(table):
    codes, classes = table.shape
    if codes > classes:
        return best_count_by_trying_all(table.T)
    return max(
        sum(table[code, label] for code, label in enumerate(chosen))
        for chosen in itertools.permutations(range(classes), codes)
    )


def assigned_count(table, assignment):
    return sum(table[code, label] for code, label in enumerate(assignment) if label >= 0)


@pytest.mark.parametrize("codes", range(1, 7))
@pytest.mark.parametrize("classes", range(1, 7))
def test_assignment_is_the_best_of_all(codes, classes):
    rng = np.random.default_rng(10 * codes + classes)
    for largest in (1, 3, 1000):  # small counts make many ties
        table = rng.integers(0, largest + 1, size=(codes, classes))
        assignment = clustering.assign_codes(table)
        named = assignment[assignment >= 0]
        assert assignment.shape == (codes,)
        assert len(named) == len(set(named)) == min(codes, classes)
        assert assigned_count(table, assignment) == best_count_by_trying_all(table)


def test_assignment_beats_the_greedy_choice():
    # The largest cell, 10, costs more than it gives.
    assert clustering.assign_codes([[10, 9], [9, 0]]).tolist() == [1, 0]


def test_assignment_of_a_large_table_is_a_hidden_permutation():
    rng = np.random.default_rng(0)
    hidden = rng.permutation(60)
    table = rng.integers(0, 50, size=(60, 60))
    table[np.arange(60), hidden] += 100
    assert (clustering.assign_codes(table) == hidden).all()


def test_confusion_table_counts_every_pair():
    table = clustering.confusion_table([0, 0, 1, 2, 2], [1, 1, 0, 0, 1], 4)
    assert table.tolist() == [[0, 2], [1, 0], [1, 1], [0, 0]]
    assert clustering.confusion_table([0], [1], 2, 5).shape == (2, 5)
    table = clustering.confusion_table(np.full(300, 99, np.uint8), np.full(300, 9, np.uint8), 100)
    assert table[99, 9] == table.sum() == 300


def accuracy_of(codes, labels, number_of_codes):
    assignment = clustering.assign_codes(
        clustering.confusion_table(codes, labels, number_of_codes, 10)
    )
    return clustering.code_accuracy(codes, labels, assignment)


def test_accuracy_of_perfect_permuted_and_constant_codes():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(10), 20)
    assert accuracy_of(labels, labels, 10) == 1.0
    assert accuracy_of(rng.permutation(10)[labels], labels, 10) == 1.0
    assert accuracy_of(np.full(200, 3), labels, 10) == 0.1
    assert accuracy_of(labels // 2, labels, 5) == 0.5
    assert accuracy_of(labels + 10 * (rng.random(200) < 0.01), labels, 20) >= 0.9


def test_a_code_that_names_nothing_is_never_right():
    assert clustering.code_accuracy([0, 1], [0, -1], [0, -1]) == 0.5


def test_agreement_is_scikit_learns_by_hand():
    pytest.importorskip("sklearn")
    assert clustering.agreement(np.diag([3, 4, 5])) == {"nmi": 1, "ari": 1}
    found = clustering.agreement([[2, 0, 0], [1, 1, 2]])
    p = np.array([[2, 0, 0], [1, 1, 2]]) / 6
    code, label = p.sum(axis=1), p.sum(axis=0)
    mutual = sum(
        q * np.log(q / (a * b)) for q, a, b in zip(p.flat, np.repeat(code, 3), [*label] * 2) if q
    )
    entropies = -np.sum(code * np.log(code)) - np.sum(label * np.log(label))
    assert found["nmi"] == pytest.approx(2 * mutual / entropies)
    # Pairs alike in both: 1 + 1; in codes 1 + 6, in labels 3 + 1, of 15.
    assert found["ari"] == pytest.approx((2 - 28 / 15) / (5.5 - 28 / 15))


def test_agreement_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert clustering.agreement(np.eye(3, dtype=int)) == {"nmi": None, "ari": None}


def test_format_is_readable_and_sums_up():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 10, size=60000)
    renamed = rng.permutation(10)
    codes = np.where(rng.random(60000) < 0.9, renamed[labels], rng.integers(0, 10, size=60000))
    table = clustering.confusion_table(codes, labels, 10)
    assignment = clustering.assign_codes(table)
    text = clustering.format_confusion(table, assignment)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert [int(line.split()[1]) for line in lines[1:11]] == list(range(10))
    accuracy = clustering.code_accuracy(codes, labels, assignment)
    assert abs(float(lines[-1].split()[1]) - 100 * accuracy) <= 0.1


def test_format_by_hand():
    text = clustering.format_confusion([[0, 0, 0], [1, 9, 0], [6, 0, 0], [2, 0, 0]], [2, 1, 0, -1])
    assert text.splitlines() == [
        " code class    0    1    2  size  purity",
        "    2     0    6    .    .     6     100",
        "    1     1    1    9    .    10    90.0",
        "    0     2    .    .    .     0       -",
        "    3     -    2    .    .     2     0.0",
        "   recall % 66.7  100    -    18    83.3",
        "accuracy 83.3 % of 18 images",
    ]


def test_100_percent_is_said_only_where_nothing_is_missing():
    text = clustering.format_confusion([[9999, 0], [1, 9]], [0, 1])
    assert " 9999" in text and text.endswith("accuracy 99.9 % of 10009 images")
    assert " 99.9  100" in text  # recall


@pytest.mark.parametrize("labels", [[0, 1] * 6, list(range(4)) * 3, [1, 0, 2, 2, 0, 1], [0] * 4])
def test_both_halves_have_every_class(labels):
    labels = np.array(labels)
    images = np.broadcast_to(labels[:, None, None, None], (len(labels), 8, 8, 1))
    some, named, others, true = clustering.data_split(data.Dataset(images, labels))
    assert set(named) == set(true) == set(labels)
    assert (some[:, 0, 0, 0] == named).all() and (others[:, 0, 0, 0] == true).all()
    assert len(some) + len(others) == len(images)
