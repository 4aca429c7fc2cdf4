"""A learning curve as a power law, with what it leaves open.

The share of wrong answers falls with the number of rows n as `a + b * n**-c` (Cortes et al. 1993; Hestness et al.
2017). A handful of noisy points does not fix three numbers, so all of a grid of floors `a` and exponents `c` are kept,
each with the `b` that suits it best, and weighed by how well they explain the points. What the points disagree about,
more rows than there are above all, widens the band by itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FLOORS, _EXPONENTS = 25, np.linspace(0.05, 1.2, 24)
# Of heads on frozen states; networks that are trained whole fall more slowly (Hestness et al. 2017, section 5).
_USUAL, _SPREAD = 0.5, 0.2
# A floor as high as the least that was measured would mean that nothing more is to be learnt: the higher, the rarer.
_LOW = 3.0
# Variance of one answer, where all were right or wrong so far.
_LEAST = 1e-3


@dataclass(frozen=True)
class Point:
    """What training on so many rows came to.

    Args:
        rows: trained on.
        shares: of right answers on rows that were not trained on, one for each draw (0..1).
        held: rows that each draw was measured on.
    """

    rows: int
    shares: tuple[float, ...]
    held: int

    @property
    def mean(self) -> float:
        """Over the draws."""
        return sum(self.shares) / len(self.shares)


@dataclass(frozen=True)
class Band:
    """What is expected.

    Args:
        rows: trained on.
        middle: the likeliest share (0..1).
        low: lower end of the band.
        high: upper end.
    """

    rows: int
    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class Law:
    """A mixture of power laws.

    Args:
        floors: a of each.
        factors: b of each.
        exponents: c of each.
        weights: of each, which sum to one.
        drawing: variance of a single training around the curve, times its rows: it falls about as `1 / n`.
        offset: standard error of the whole curve, since all points were measured on the same few rows.
    """

    floors: Floats
    factors: Floats
    exponents: Floats
    weights: Floats
    drawing: float
    offset: float

    @classmethod
    def fit(cls, points: Sequence[Point], asked: int) -> "Law":
        """Weigh all laws of the grid by the points.

        Args:
            points: at least one.
            asked: distinct rows that they were measured on.
        """
        rows = np.array([point.rows for point in points], dtype=float)
        wrong = np.array([1.0 - point.mean for point in points])
        single = np.maximum(wrong * (1 - wrong), _LEAST)
        chance = single / np.array([point.held for point in points])
        drawing = _drawing(points, chance)
        error = np.sqrt((drawing / rows + chance) / np.array([len(point.shares) for point in points]))
        offset = math.sqrt(single[-1] / asked)
        best = float(wrong.min())
        floors, exponents = (
            grid.ravel() for grid in np.meshgrid(np.linspace(0.0, best, _FLOORS), _EXPONENTS, indexing="ij")
        )
        shapes = rows[None, :] ** -exponents[:, None]
        weigh = 1.0 / error**2
        # Least squares for b alone; more rows never do harm.
        factors = np.maximum(0.0, ((wrong - floors[:, None]) * shapes * weigh).sum(1) / (shapes**2 * weigh).sum(1))
        missed = (((wrong - floors[:, None] - factors[:, None] * shapes) / error) ** 2).sum(1)
        high = floors / max(best, 1e-9)
        logs = -0.5 * missed - 0.5 * ((exponents - _USUAL) / _SPREAD) ** 2 - _LOW * high
        weights = np.exp(logs - logs.max())
        return cls(floors, factors, exponents, weights / weights.sum(), drawing, offset)

    def at(self, rows: int, level: float = 0.8, held: int | None = None, wider: float = 1.0) -> Band:
        """What to expect of one training on so many rows.

        Args:
            rows: to be trained on.
            level: of the band (0..1).
            held: rows that the result is going to be measured on; None for the share over all rows there will ever be.
            wider: how many times as wide the band is to be as the law has it.
        """
        means = 1.0 - self.floors - self.factors * rows**-self.exponents
        means = np.clip(means, 0.0, 1.0)
        middle = float((self.weights * means).sum())
        between = float((self.weights * (means - middle) ** 2).sum())
        measured = 0.0 if held is None else middle * (1 - middle) / held
        width = math.sqrt(between + self.drawing / rows + self.offset**2 + measured)
        reach = NormalDist().inv_cdf(0.5 + level / 2) * width * wider
        return Band(rows, middle, max(0.0, middle - reach), min(1.0, middle + reach))


def _drawing(points: Sequence[Point], chance: Floats) -> float:
    """Variance of single trainings times their rows, from all points at once: of few draws alone it is hardly known.

    Draws also differ by the chance of the rows that each was measured on, which is taken off.
    """
    own = [
        max(0.0, float(np.var(point.shares, ddof=1)) - luck) * point.rows
        for point, luck in zip(points, chance, strict=True)
        if len(point.shares) > 1
    ]
    return max(0.0, sum(own) / len(own)) if own else float(chance[-1] * points[-1].rows)
