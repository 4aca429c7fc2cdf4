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


def best_of(candidates: Sequence[Candidate], task: Task, targets: Tensor, enough: float | None = None) -> Candidate:
    """The winner of a race.

    Args:
        candidates: from the cheapest to the dearest, with their logits of the validation rows.
        task: of the run.
        targets: of these rows; those that training knows nothing of tell nothing about the candidates.
        enough: score of which the fastest answer wins that has it; None, or where none has it: the rule above.
    """
    if enough is not None and (reaching := [candidate for candidate in candidates if candidate.score >= enough]):
        return min(reaching, key=lambda c: (c.runs * c.placement.exit, len(c.placement.modules), c.train_s))
    leader = candidates[0]
    if not task.known(targets).any():
        return leader
    least = row_losses(task, leader.logits, targets)
    for candidate in candidates[1:]:
        losses = row_losses(task, candidate.logits, targets)
        gain, error = paired(losses, least)
        if gain > _STANDARD_ERRORS * error:
            leader, least = candidate, losses
    return leader


def row_losses(task: Task, logits: Tensor, targets: Tensor) -> Tensor:
    """Loss of each row that training knows something of, at the temperature with the least mean, (M,)."""
    known = task.known(targets)
    tried = [task.losses(logits[known] * t, targets[known]) for t in _TEMPERATURES]
    return min(tried, key=lambda losses: float(losses.mean()))


def paired(losses: Tensor, others: Tensor) -> tuple[float, float]:
    """What one saves of the other's loss in the mean over rows, and its standard error."""
    gain = others - losses
    return float(gain.mean()), float(gain.std(correction=0)) / len(gain) ** 0.5
