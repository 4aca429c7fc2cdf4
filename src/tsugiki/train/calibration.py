"""Probabilities that mean what they say: one temperature for all logits, fitted on validation (Guo et al. 2017)."""

import math

from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from tsugiki.review import Review

_RANGE = math.log(20.0)


def temperature_of(logits: Tensor, classes: Tensor) -> float:
    """The number that logits are to be divided by; 1 where no row tells.

    Args:
        logits: of validation rows, (M, C).
        classes: of these rows, (M,); -1 where training lacks the class.
    """
    known = classes >= 0
    if not known.any():
        return 1.0
    chosen, truth = logits[known].double(), classes[known]

    def loss(log_temperature: float) -> float:
        return float(functional.cross_entropy(chosen / math.exp(log_temperature), truth))

    found = minimize_scalar(loss, bounds=(-_RANGE, _RANGE), method="bounded", options={"xatol": 1e-3})
    return round(math.exp(float(found.x)), 4)


def review_of(logits: Tensor, classes: Tensor, wanted: float) -> Review | None:
    """What validation says about the confidence of answers; None where there is no row.

    Args:
        logits: calibrated, of validation rows (M, C).
        classes: of these rows, (M,).
        wanted: precision that automatic answers shall have (0..1).
    """
    if not len(classes):
        return None
    confidence, answers = logits.softmax(-1).max(-1)
    return Review.of(confidence.tolist(), (answers == classes).tolist(), wanted)
