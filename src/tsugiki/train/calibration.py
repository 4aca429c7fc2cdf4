"""Probabilities that mean what they say: one temperature for all logits, fitted on validation (Guo et al. 2017)."""

import math

from scipy.optimize import minimize_scalar
from torch import Tensor

from tsugiki.review import Review
from tsugiki.tasks.task import Task

_RANGE = math.log(20.0)


def temperature_of(task: Task, logits: Tensor, targets: Tensor) -> float:
    """The number that logits are to be divided by; 1 where no row tells.

    Args:
        task: of the run.
        logits: of validation rows, (M, C).
        targets: of these rows.
    """
    known = task.known(targets)
    if not known.any():
        return 1.0
    chosen, truth = logits[known].double(), targets[known]

    def loss(log_temperature: float) -> float:
        return float(task.losses(chosen / math.exp(log_temperature), truth).mean())

    found = minimize_scalar(loss, bounds=(-_RANGE, _RANGE), method="bounded", options={"xatol": 1e-3})
    return round(math.exp(float(found.x)), 4)


def review_of(task: Task, logits: Tensor, targets: Tensor, wanted: float) -> Review | None:
    """What validation says about the confidence of answers; None where there is no row.

    Args:
        task: of the run, as it answers.
        logits: calibrated, of validation rows (M, C).
        targets: of these rows.
        wanted: precision that automatic answers shall have (0..1).
    """
    if not len(logits):
        return None
    found = task.answers(logits)
    return Review.of(found.probability.tolist(), (task.match(found.best, targets) == 1).tolist(), wanted)
