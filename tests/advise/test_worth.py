"""Money from what nobody looks at any more."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.advise.worth import Assumptions, Worth
from tsugiki.errors import ConfigError
from tsugiki.spec import parse

ASSUMED = Assumptions(wage=30, minutes=6, cases=1_000, setup_hours=60, upkeep_hours=10)


def test_the_hours_are_those_of_the_cases_that_need_nobody():
    worth = Worth.of(0.4, ASSUMED)
    assert worth.hours == pytest.approx(1_000 * 0.4 * 6 / 60 - 10)
    assert worth.money == pytest.approx(30 * worth.hours) and worth.months == pytest.approx(60 / worth.hours)


def test_without_automatic_answers_it_costs_its_upkeep_and_never_pays():
    worth = Worth.of(0.0, ASSUMED)
    assert worth.hours == -10 and worth.money == -300 and math.isinf(worth.months)


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_automatic_answers_are_never_worth_less(one, other):
    low, high = sorted((one, other))
    assert Worth.of(low, ASSUMED).money <= Worth.of(high, ASSUMED).money


@pytest.mark.parametrize(("field", "value"), [("wage", 0), ("minutes", -1), ("cases", 0), ("setup_hours", -1)])
def test_an_assumption_that_cannot_be_is_refused(field, value):
    with pytest.raises(ConfigError):
        parse(Assumptions, {field: value}, where="advise")
