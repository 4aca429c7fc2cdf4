"""Scores by hand, and intervals where the difference is known."""

import numpy as np
import pytest

from tsugiki.data.rows import Rows
from tsugiki.evaluate.metrics import class_scores, confusion, macro_f1, paired_bootstrap

LABELS = ["a", "a", "a", "b", "b", "c"]
ROWS = Rows(tuple("ttttTt"), tuple(LABELS))
ANSWERS = ["a", "a", "b", "b", "a", "a"]


def test_class_scores_are_those_worked_out_by_hand():
    a, b, c = class_scores(ROWS, ANSWERS, ["a", "b", "c"])
    assert [a.precision, a.recall, a.num_rows] == pytest.approx([2 / 4, 2 / 3, 3])
    assert [b.precision, b.recall, b.num_rows] == pytest.approx([1 / 2, 1 / 2, 2])
    assert (c.precision, c.recall, c.f1, c.num_rows) == (0.0, 0.0, 0.0, 1)
    assert a.f1 == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))


def test_macro_f1_weighs_every_class_alike():
    assert macro_f1(ROWS, ANSWERS) == pytest.approx((4 / 7 + 1 / 2 + 0) / 3)


def test_rows_of_several_labels_are_counted_label_by_label():
    rows = Rows(("1", "2", "3"), ("a;b", "b", ""), several=True)
    answers = ["a", "b;c", ""]
    a, b, c = class_scores(rows, answers, ["a", "b", "c"])
    assert (a.f1, b.precision, b.recall, c.precision) == (1.0, 1.0, 0.5, 0.0)
    assert [a.num_rows, b.num_rows, c.num_rows] == [1, 2, 0]
    assert macro_f1(rows, answers) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_one_label_alone_is_no_two_classes():
    rows = Rows(("1", "2", "3"), ("a", "", "a"), several=True)
    (a,) = class_scores(rows, ["a", "a", ""], ["a"])
    assert (a.precision, a.recall, a.num_rows) == (0.5, 0.5, 2)
    assert macro_f1(rows, ["a", "a", ""]) == 0.5
    assert macro_f1(Rows(("1",), ("",), several=True), [""]) == 0.0


def test_confusion_has_true_classes_down_and_answers_across():
    assert confusion(LABELS, ANSWERS, ["a", "b", "c"]).tolist() == [[2, 1, 0], [1, 1, 0], [1, 0, 0]]


def test_bootstrap_covers_a_known_difference_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(12):
        # 70 % against 60 %, three seeds: the same rows are hard for both.
        hard = rng.random(200)
        a = (hard + 0.2 * rng.random((3, 200))) < 0.8
        b = (hard + 0.2 * rng.random((3, 200))) < 0.7
        _, low, high = paired_bootstrap(a, b, seed=trial)
        covered += low <= 10.0 <= high
    assert covered >= 9  # 11 expected


def test_bootstrap_of_equal_methods_is_zero_without_width():
    right = np.random.default_rng(0).random((2, 50)) < 0.5
    assert paired_bootstrap(right, right) == (0.0, 0.0, 0.0)


def test_bootstrap_says_points():
    difference, low, high = paired_bootstrap(np.ones((1, 20)), np.zeros((1, 20)))
    assert (difference, low, high) == (100.0, 100.0, 100.0)


def test_seeds_that_disagree_widen_the_interval():
    rows = np.random.default_rng(0).random(400)
    steady = np.stack([rows < 0.7] * 4)
    wavering = np.stack([rows < share for share in (0.5, 0.9, 0.6, 0.8)])
    nothing = np.zeros((4, 400))
    _, low, high = paired_bootstrap(steady, nothing)
    _, lower, higher = paired_bootstrap(wavering, nothing)
    assert higher - lower > 1.5 * (high - low)
