"""Planted games: what each player brings is known, so it has to be found."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsugiki.auditing.shapley import MOST_EXACT, attribute


def game(value):
    """A game whose worth is a function of the set of players that are in."""
    return lambda coalitions: np.array([float(value(set(coalition))) for coalition in coalitions])


def test_players_that_add_up_get_what_they_add_and_do_not_interact():
    worth = np.array([3.0, -1.0, 0.5, 0.0])
    found = attribute(4, game(lambda inside: 10 + sum(worth[list(inside)])))
    np.testing.assert_allclose(found.values, worth, atol=1e-12)
    assert found.interactions is not None
    np.testing.assert_allclose(found.interactions, 0, atol=1e-12)
    assert (found.nothing, found.everybody) == (10.0, 12.5) and not found.margins.any()


def test_two_that_do_the_same_share_it_and_are_seen_to_be_redundant():
    found = attribute(3, game(lambda inside: 6 * bool(inside & {0, 1})))
    np.testing.assert_allclose(found.values, [3, 3, 0], atol=1e-12)
    assert found.interactions is not None
    # Each of them alone would be missed by nobody: leaving one out shows nothing.
    assert found.interactions[0, 1] == pytest.approx(-6) and found.interactions[0, 2] == pytest.approx(0)


def test_two_that_need_each_other_are_seen_to_do_so():
    found = attribute(3, game(lambda inside: 4 * (inside >= {0, 2})))
    np.testing.assert_allclose(found.values, [2, 0, 2], atol=1e-12)
    assert found.interactions is not None and found.interactions[0, 2] == pytest.approx(4)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 5).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.floats(-5, 5), min_size=2**n, max_size=2**n)))
)
def test_values_are_the_mean_over_all_orders(drawn):

    players, numbers = drawn
    worth = game(lambda inside: numbers[sum(1 << player for player in inside)])
    orders = list(permutations(range(players)))
    wanted = np.zeros(players)
    for order in orders:
        values = worth([order[:at] for at in range(players + 1)])
        for player, (before, after) in zip(order, pairwise(values), strict=True):
            wanted[player] += (after - before) / len(orders)
    np.testing.assert_allclose(attribute(players, worth).values, wanted, atol=1e-9)


def test_beyond_ten_players_orders_are_drawn_and_the_interval_holds_the_truth():
    players = MOST_EXACT + 4
    worth = np.linspace(-1, 1, players)
    inside = np.zeros(players)
    for seed in range(40):
        found = attribute(players, game(lambda i: sum(worth[list(i)]) + 2 * (i >= {0, 1})), orders=60, seed=seed)
        wanted = worth + np.array([1, 1, *[0] * (players - 2)])
        assert found.interactions is None
        assert found.values.sum() == pytest.approx(found.everybody - found.nothing)
        inside += np.abs(found.values - wanted) <= found.margins + 1e-9
    assert inside.min() >= 0.8 * 40


def test_one_player_gets_all_of_it_and_nobody_nothing():
    assert attribute(1, game(len)).values.tolist() == [1.0]
    none = attribute(0, game(len))
    assert none.values.shape == (0,) and none.nothing == none.everybody == 0
