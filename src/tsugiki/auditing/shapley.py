"""What each of several players brings to a game, and what pairs of them bring beyond that.

A game is a value for every coalition. A player's Shapley value is what it adds to a coalition, in the mean over all
orders in which players may come (Shapley 1953); the interaction of two is what they add together less what each adds
alone, in the mean over coalitions of the others (Grabisch & Roubens 1999): above zero they need each other, below zero
one makes the other needless.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Coalition = tuple[int, ...]
Worth = Callable[[Sequence[Coalition]], NDArray[np.float64]]
"""Value of each of some coalitions, whose players ascend."""

MOST_EXACT = 10
"""Players up to whom all coalitions are valued: 1,024 at most."""

_ERRORS = 1.96


@dataclass(frozen=True)
class Attribution:
    """What was found.

    Args:
        values: of each player, (n,).
        margins: half the width of the interval in which each lies in 19 of 20 cases, (n,); zeros where exact.
        interactions: of each pair, (n, n), symmetric, with zeros on the diagonal; None where orders were drawn.
        nothing: value of the coalition of nobody.
        everybody: value of that of all players.
    """

    values: NDArray[np.float64]
    margins: NDArray[np.float64]
    interactions: NDArray[np.float64] | None
    nothing: float
    everybody: float


def attribute(players: int, worth: Worth, orders: int = 200, seed: int = 0) -> Attribution:
    """Values of the players of a game: exact for up to ten, from drawn orders beyond.

    Args:
        players: n.
        worth: of coalitions; asked for all of them at once, or for those of the drawn orders.
        orders: that are drawn, half of them the others backwards, which evens out much of the chance.
        seed: of the orders.
    """
    return _exact(players, worth) if players <= MOST_EXACT else _drawn(players, worth, orders, seed)


def _exact(players: int, worth: Worth) -> Attribution:
    coalitions = [c for size in range(players + 1) for c in combinations(range(players), size)]
    value = dict(zip(coalitions, worth(coalitions).tolist(), strict=True))
    values, interactions = np.zeros(players), np.zeros((players, players))
    for coalition in coalitions:
        size = len(coalition)
        out = [player for player in range(players) if player not in coalition]
        for player in out:
            joined = tuple(sorted((*coalition, player)))
            values[player] += _share(size, players) * (value[joined] - value[coalition])
        for one, other in combinations(out, 2):
            both = tuple(sorted((*coalition, one, other)))
            alone = (tuple(sorted((*coalition, player))) for player in (one, other))
            together = value[both] - sum(value[c] for c in alone) + value[coalition]
            interactions[one, other] += _share(size, players - 1) * together
    interactions += interactions.T
    everybody = tuple(range(players))
    return Attribution(values, np.zeros(players), interactions, value[()], value[everybody])


def _share(size: int, players: int) -> float:
    """Of all orders of players, those in which exactly this coalition stands before one of the others."""
    return math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)


def _drawn(players: int, worth: Worth, orders: int, seed: int) -> Attribution:
    rng = np.random.default_rng(seed)
    half = [rng.permutation(players) for _ in range(max(1, orders // 2))]
    pairs = [(order, order[::-1]) for order in half]
    starts = [tuple(sorted(order[:at].tolist())) for both in pairs for order in both for at in range(players + 1)]
    asked = list(dict.fromkeys(starts))
    value = dict(zip(asked, worth(asked).tolist(), strict=True))
    # An order and the same backwards are one draw.
    gains = np.zeros((len(pairs), players))
    for row, both in zip(gains, pairs, strict=True):
        for order in both:
            steps = [value[tuple(sorted(order[:at].tolist()))] for at in range(players + 1)]
            row[order] += np.diff(steps) / 2
    spread = gains.std(0, ddof=1) if len(gains) > 1 else np.full(players, math.inf)
    margins = _ERRORS * spread / math.sqrt(len(gains))
    return Attribution(gains.mean(0), margins, None, value[()], value[tuple(range(players))])
