"""What confidence is worth: how far it is from the share of right answers, and what may be used unseen."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tsugiki.evaluate.metrics import calibration_error, coverage, share_interval
from tsugiki.review import Review
from tsugiki.tasks.task import Task

_MOST_POINTS = 200
# Batches of other lengths give the same answer a last digit of its own.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Automatic:
    """What comes of using answers unseen from a confidence on.

    Args:
        wanted: precision that was asked for (0..1).
        threshold: confidence from which on answers are used unseen; infinite where none is.
        share: of the rows answered so (0..1).
        precision: share of right answers among these (0..1); NaN where there are none.
        low: lower end of the 90 % interval of the precision.
        high: upper end.
    """

    wanted: float
    threshold: float
    share: float
    precision: float
    low: float
    high: float


@dataclass(frozen=True)
class Confidence:
    """How far confidence can be trusted, on rows that it was not fitted on.

    Args:
        calibration_error: how far it is from the share of right answers (0..1).
        coverage: (share of rows answered, share of right answers among them), from the surest rows to all.
        automatic: at the wanted precision; None where validation said nothing of confidence.
    """

    calibration_error: float
    coverage: tuple[tuple[float, float], ...]
    automatic: Automatic | None


def confidence_of(
    task: Task, logits: Tensor, targets: Tensor, review: Review | None, target_precision: float | None = None
) -> Confidence:
    """Compare confidence with what is right.

    Args:
        task: as it answers.
        logits: calibrated, (N, C).
        targets: of these rows.
        review: what validation said of confidence.
        target_precision: that automatic answers shall have (0..1); None takes the one of training.
    """
    found = task.answers(logits)
    stated, right = found.probability, task.match(found.best, targets) == 1
    points = coverage(stated.numpy(), right.numpy())
    return Confidence(
        calibration_error=calibration_error(stated.numpy(), right.numpy()),
        coverage=tuple(points[:: math.ceil(len(points) / _MOST_POINTS)][:-1] + points[-1:]),
        automatic=_automatic(review, target_precision, stated, right) if review else None,
    )


def _automatic(review: Review, wanted: float | None, stated: Tensor, right: Tensor) -> Automatic:
    wanted = review.wanted if wanted is None else wanted
    threshold = review.rule(wanted).threshold
    used = stated >= torch.tensor(threshold - _ROUNDING)
    precision = float(right[used].double().mean()) if used.any() else math.nan
    interval = share_interval(int(right[used].sum()), int(used.sum()))
    return Automatic(wanted, threshold, float(used.double().mean()), precision, *interval)
