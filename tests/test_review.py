"""Which answers may be used unseen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.review import Review

answers = st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.7, 0.9, 0.99]), st.booleans()), min_size=1, max_size=200)


def review(pairs, wanted=0.9):
    return Review.of([c for c, _ in pairs], [r for _, r in pairs], wanted)


@given(answers, st.sampled_from([0.5, 0.8, 0.95]))
def test_the_rule_is_what_validation_says(pairs, wanted):
    rule = review(pairs).rule(wanted)
    used = [right for confidence, right in pairs if confidence >= rule.threshold]
    assert rule.share == pytest.approx(len(used) / len(pairs))
    if used:
        assert rule.precision == pytest.approx(np.mean(used)) and rule.precision >= wanted
    else:
        assert math.isnan(rule.precision) and not rule.proven


@given(answers)
def test_equal_confidences_fall_on_one_side(pairs):
    assert len({confidence for confidence, *_ in review(pairs).points}) == len(review(pairs).points)


def test_95_percent_are_proven_by_45_answers_without_a_mistake_and_not_by_44():
    sure = [(0.9, True)] * 44
    assert not review(sure).rule(0.95).proven and review(sure).rule(0.95).share == 1.0
    assert review([*sure, (0.9, True)]).rule(0.95).proven


def test_the_threshold_is_the_lowest_that_keeps_what_is_wanted():
    pairs = [(0.9, True)] * 60 + [(0.7, True)] * 60 + [(0.5, False)] * 20
    assert review(pairs).rule(0.9).threshold == 0.7
    assert review(pairs).rule(0.8).threshold == 0.5 and not review(pairs).rule(0.99).proven


def test_where_no_confidence_is_enough_nothing_is_automatic():
    rule = review([(0.9, False), (0.8, True)]).rule()
    assert (rule.threshold, rule.share) == (math.inf, 0.0)


def test_what_is_kept_is_small():
    pairs = [(i / 5000, i % 3 > 0) for i in range(5000)]
    assert len(review(pairs).points) <= 50 and review(pairs).points[-1][1] == 5000


def test_the_bound_holds_in_nine_of_ten_samples_where_confidence_is_honest():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        confidence = rng.uniform(0.5, 1.0, 400)
        rule = Review.of(confidence.tolist(), (rng.random(400) < confidence).tolist(), 0.9).rule()
        if rule.proven:
            # The precision of all answers above a threshold of honest confidences: their mean.
            held.append((rule.threshold + 1) / 2 >= 0.9 - 0.005)
    assert len(held) > 200 and np.mean(held) > 0.85
