"""Which candidate wins: the cheapest that nothing dearer beats beyond chance.

Accuracy on a few hundred rows is mostly noise between candidates that share a base, so they are compared row by row on
their cross-entropy, each with the one temperature that suits it best. `explanation/measurements` compares the rules.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tsugiki.tasks.task import Task
from tsugiki.train.candidate import Candidate

# A dearer candidate has to gain this many standard errors of the paired difference.
_STANDARD_ERRORS = 0.5
_TEMPERATURES = torch.logspace(-1, 0.6, 30)


def best_of(candidates: Sequence[Candidate], task: Task, targets: Tensor) -> Candidate:
    """The winner of a race.

    Args:
        candidates: from the cheapest to the dearest, with their logits of the validation rows.
        task: of the run.
        targets: of these rows; those that training knows nothing of tell nothing about the candidates.
    """
    known = task.known(targets)
    leader = candidates[0]
    if not known.any():
        return leader
    least = _losses(task, leader.logits[known], targets[known])
    for candidate in candidates[1:]:
        losses = _losses(task, candidate.logits[known], targets[known])
        gain = least - losses
        if gain.mean() > _STANDARD_ERRORS * gain.std(correction=0) / len(gain) ** 0.5:
            leader, least = candidate, losses
    return leader


def _losses(task: Task, logits: Tensor, targets: Tensor) -> Tensor:
    """Loss of each row at the temperature with the least mean, (M,)."""
    tried = [task.losses(logits * t, targets) for t in _TEMPERATURES]
    return min(tried, key=lambda losses: float(losses.mean()))
