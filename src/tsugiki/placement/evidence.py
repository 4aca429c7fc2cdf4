"""What speaks for which site, rank and exit: one pass forward and back over some of the rows.

Rows are dealt into four quarters. The head that reads the first two was fitted on the other two and the other way
round, since a head that has seen a row leaves it no gradient worth having. A module's gain is the inner product of
gradients of two disjoint halves: noise has no inner product with other noise, so a site that only fits noise comes out
at zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

RANKS = (2, 4, 8, 16, 32)
# Correlation below which sites are not told apart.
_RELIABLE = 0.3
# Of the loss of the best head, what modules everywhere are taken to save.
_SAVED = 0.3
Place = tuple[int, str]
"""Layer and name of a site."""


@dataclass(frozen=True)
class Evidence:
    """What one pass found.

    Args:
        gains: of each site and rank of `RANKS`, the loss that a module is promised to save. Only their proportions are
            found: the curvature of a base is known too badly for more. All sites together are taken to save three
            tenths of the loss of the best head.
        exits: loss of a closed-form head on the states up to each exit 1..L, on rows that it has not seen.
        scores: score of these heads (0..1).
        reliability: rank correlation between the gains of two disjoint halves of the rows, -1..1.
        num_rows: rows that were looked at.
        seconds: that it took.
    """

    gains: Mapping[Place, tuple[float, ...]]
    exits: tuple[float, ...]
    scores: tuple[float, ...]
    reliability: float
    num_rows: int
    seconds: float

    @property
    def is_reliable(self) -> bool:
        """Whether two halves of the rows rank the sites alike."""
        return self.reliability >= _RELIABLE

    def score_at(self, loss: float) -> float:
        """Score that goes with a loss (0..1), along the line through those of the exits."""
        losses, scores = np.array(self.exits), np.array(self.scores)
        middle, spread = losses.mean(), ((losses - losses.mean()) ** 2).sum()
        slope = min(0.0, float(((losses - middle) * scores).sum() / spread)) if spread else 0.0
        return float(np.clip(scores.mean() + slope * (loss - middle), 0.0, 1.0))

    def flat(self) -> "Evidence":
        """What there is to go by where they do not: every site is promised the same."""
        return self.dealt(dict.fromkeys(self.gains, 1 / len(self.gains)))

    def dealt(self, shares: Mapping[Place, float]) -> "Evidence":
        """The same promise in all, dealt in other shares, which sum to one; more rank is promised a little more."""
        promised = sum(gains[-1] for gains in self.gains.values())
        dealt = {
            place: tuple(promised * shares.get(place, 0.0) * (rank / RANKS[-1]) ** 0.5 for rank in RANKS)
            for place in self.gains
        }
        return replace(self, gains=dealt)

    def gain(self, place: Place, rank: int) -> float:
        """The gain of one module; between two ranks it is that of the lower one."""
        return max((g for r, g in zip(RANKS, self.gains[place], strict=True) if r <= rank), default=0.0)


def shared(raw: Mapping[Place, tuple[float, ...]], unadapted_loss: float) -> dict[Place, tuple[float, ...]]:
    """Raw gains as shares of what modules everywhere are taken to save."""
    total = sum(gains[-1] for gains in raw.values())
    scale = _SAVED * unadapted_loss / total if total else 0.0
    return {place: tuple(scale * gain for gain in gains) for place, gains in raw.items()}


def gains_of(quarters: Sequence[Tensor], in_width: int, tokens_per_row: float) -> tuple[float, ...]:
    """Raw gains by rank: what one step with the curvature of K-FAC would save of the loss, half of `g F^-1 g`.

    The directions are those of one half, their worth is what the other half says of them, and both halves take turns.

    Args:
        quarters: whitened sketches (k, O), each of the mean loss of its rows.
        in_width: I of the site; a module may choose among all I directions, a sketch sees k of them.
        tokens_per_row: a row's curvature is that of so many tokens (Grosse & Martens 2016, section 3).
    """
    first, second = (quarters[0] + quarters[2]) / 2, (quarters[1] + quarters[3]) / 2
    worth = (_along(first, second) + _along(second, first)) / 2
    scale = in_width / first.shape[0] / (2 * tokens_per_row)
    whole = torch.cumsum(worth, 0) * scale
    found = (float(whole[min(rank, len(whole)) - 1]) for rank in RANKS)
    # A larger module can do all that a smaller one can.
    return tuple(accumulate(found, max, initial=0.0))[1:]


def _along(one: Tensor, other: Tensor) -> Tensor:
    """What each singular direction of one sketch is worth by the other, largest first, (min(k, O),)."""
    left, values, right = torch.linalg.svd(one, full_matrices=False)
    worth: Tensor = values * torch.einsum("ki,ko,io->i", left, other, right)
    return worth


def reliability_of(quarters: Mapping[Place, Sequence[Tensor]]) -> float:
    """Spearman's correlation of the gains of two disjoint halves, stepped up to both (Spearman-Brown)."""
    halves = [[float((q[a] * q[b]).sum()) for q in quarters.values()] for a, b in ((0, 1), (2, 3))]
    ranks = [torch.tensor(half).argsort().argsort().double() for half in halves]
    if len(ranks[0]) < 3:
        return 0.0
    rho = float(torch.corrcoef(torch.stack(ranks))[0, 1])
    return max(-1.0, 2 * rho / (1 + rho)) if rho > 0 else rho
