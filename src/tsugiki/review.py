"""Which answers may be used unseen, and which a person should look at: a threshold on confidence.

Validation rows, sorted by the confidence of their answers, say how many answers are right above any confidence. The
lowest confidence is taken above which the wanted precision is proven: the lower end of the one-sided exact interval of
Clopper & Pearson (1934) reaches it. Few rows prove little: 95 % need 45 answers without a mistake, so below that the
lowest confidence is taken above which the precision was merely seen, and that is said.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from tsugiki.spec import Spec

# Chance that a proof is wrong.
_RISK = 0.10
_MOST_POINTS = 50


class Rule(NamedTuple):
    """A threshold and what validation says of it.

    Args:
        threshold: answers of this confidence or more are used as they are; infinite where none may be.
        share: of the validation rows answered so (0..1).
        precision: share of right answers among these (0..1); NaN where there are none.
        proven: whether the wanted precision is proven, or was merely seen.
    """

    threshold: float
    share: float
    precision: float
    proven: bool


class Review(Spec):
    """What validation says about confidence.

    Args:
        num_rows: validation rows.
        points: (confidence, answers of at least that, wrong ones among them), from the highest confidence down.
        wanted: precision that automatic answers shall have (0..1).
    """

    num_rows: int
    points: tuple[tuple[float, int, int], ...]
    wanted: float

    @classmethod
    def of(cls, confidence: Sequence[float], right: Sequence[bool], wanted: float) -> "Review":
        """Read it off validation rows.

        Args:
            confidence: of each answer (0..1).
            right: whether it is right.
            wanted: precision that automatic answers shall have (0..1).
        """
        ordered = sorted(zip(confidence, right, strict=True), reverse=True)
        points, wrong = [], 0
        for answered, (value, is_right) in enumerate(ordered, start=1):
            wrong += not is_right
            # Equal confidences fall on one side.
            if answered == len(ordered) or ordered[answered][0] < value:
                points.append((value, answered, wrong))
        step = math.ceil(len(points) / _MOST_POINTS)
        return cls(num_rows=len(ordered), points=tuple(points[::-1][::step][::-1]), wanted=wanted)

    def rule(self, wanted: float | None = None) -> Rule:
        """The threshold for a precision.

        Args:
            wanted: precision (0..1); None takes the one that was set in training.
        """
        target = self.wanted if wanted is None else wanted
        for proven in (True, False):
            for confidence, answered, wrong in reversed(self.points):
                precision = (answered - wrong) / answered
                if (_at_least(answered, wrong) if proven else precision) >= target:
                    return Rule(confidence, answered / self.num_rows, precision, proven)
        return Rule(math.inf, 0.0, math.nan, False)


def _at_least(answered: int, wrong: int) -> float:
    """Lower end of the exact one-sided interval of a share of right answers."""
    from scipy.special import betaincinv

    right = answered - wrong
    return float(betaincinv(right, wrong + 1, _RISK)) if right else 0.0
