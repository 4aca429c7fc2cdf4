"""Which candidate wins: the cheapest that nothing dearer beats beyond chance.

Accuracy on a few hundred rows is mostly noise between candidates that share a base, so they are compared row by row on
their cross-entropy, each with the one temperature that suits it best. `explanation/measurements` compares the rules.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tsugiki.train.candidate import Candidate

# A dearer candidate has to gain this many standard errors of the paired difference.
_STANDARD_ERRORS = 0.5
_TEMPERATURES = torch.logspace(-1, 0.6, 30)


def best_of(candidates: Sequence[Candidate], classes: Tensor) -> Candidate:
    """The winner of a race.

    Args:
        candidates: from the cheapest to the dearest, with their logits of the validation rows.
        classes: of these rows, (M,); -1 where training lacks the class, which tells nothing about the candidates.
    """
    known = classes >= 0
    leader = candidates[0]
    if not known.any():
        return leader
    least = _losses(leader.logits[known], classes[known])
    for candidate in candidates[1:]:
        losses = _losses(candidate.logits[known], classes[known])
        gain = least - losses
        if gain.mean() > _STANDARD_ERRORS * gain.std(correction=0) / len(gain) ** 0.5:
            leader, least = candidate, losses
    return leader


def _losses(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of each row at the temperature with the least mean, (M,)."""
    tried = [functional.cross_entropy(logits * t, classes, reduction="none") for t in _TEMPERATURES]
    return min(tried, key=lambda losses: float(losses.mean()))
