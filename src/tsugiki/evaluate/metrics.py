"""Scores of answers, and how far chance may have moved them.

Scores are shares (0..1); what is left of a difference of two scores is said in points (of 100). N is the number of
rows, S of seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from sklearn.preprocessing import MultiLabelBinarizer

from tsugiki.data.labels import split
from tsugiki.data.rows import Rows

_RESAMPLES = 2_000
_STEPS = 15


@dataclass(frozen=True)
class ClassScore:
    """How one class fared.

    Args:
        label: of the class.
        precision: share of the answers with this label that are right (0..1); 0 where it was never answered.
        recall: share of the rows of this class that are answered right (0..1); 0 where it has no rows.
        f1: harmonic mean of the two (0..1).
        num_rows: rows of the class.
    """

    label: str
    precision: float
    recall: float
    f1: float
    num_rows: int


class Interval(NamedTuple):
    """A difference of two scores and where it may lie, in points.

    Args:
        difference_points: first less second.
        low_points: lower end.
        high_points: upper end.
    """

    difference_points: float
    low_points: float
    high_points: float


def macro_f1(rows: Rows, answers: Sequence[str]) -> float:
    """Mean F1 over all classes that have a row or an answer (0..1); a class that is never answered brings 0."""
    classes = sorted({*rows.classes, *replace(rows, labels=tuple(answers)).classes})
    return float(np.mean([score.f1 for score in class_scores(rows, answers, classes)])) if classes else 0.0


def class_scores(rows: Rows, answers: Sequence[str], classes: Sequence[str]) -> list[ClassScore]:
    """Precision, recall, F1 and rows of each class, in the order of `classes`."""
    truth, found = _comparable(rows, answers, classes)
    places = range(len(classes)) if rows.several else classes
    columns = precision_recall_fscore_support(truth, found, labels=list(places), zero_division=0.0)
    return [
        ClassScore(label, float(precision), float(recall), float(f1), int(rows))
        for label, precision, recall, f1, rows in zip(classes, *columns, strict=True)
    ]


def _comparable(rows: Rows, answers: Sequence[str], classes: Sequence[str]) -> tuple[Any, Any]:
    """Labels and answers as sklearn compares them: as they are, or as indicators where rows have several."""
    if not rows.several:
        return rows.labels, answers
    # A column that nobody asks for: one alone would be taken for two classes.
    indicator = MultiLabelBinarizer(classes=[*classes, ""]).fit([classes])
    return indicator.transform(rows.labels_by_row), indicator.transform([split(answer) for answer in answers])


def calibration_error(confidence: ArrayLike, right: ArrayLike) -> float:
    """Expected calibration error: how far confidence is from the share of right answers, in 15 equal steps of it.

    Naeini, Cooper & Hauskrecht 2015.

    Args:
        confidence: of each answer (N,), 0..1.
        right: whether it is right (N,).
    """
    stated, is_right = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    step = np.minimum((stated * _STEPS).astype(int), _STEPS - 1)
    off = np.bincount(step, weights=is_right - stated, minlength=_STEPS)
    return float(np.abs(off).sum() / len(stated))


def share_interval(right: int, total: int, level: float = 0.90) -> tuple[float, float]:
    """Where a share may lie of which `right` in `total` were seen (Wilson 1927), 0..1; anywhere where none were."""
    if not total:
        return 0.0, 1.0
    z = float(ndtri((1 + level) / 2))
    share, width = right / total, 1 + z**2 / total
    middle = (share + z**2 / (2 * total)) / width
    half = z * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2)) / width
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def coverage(confidence: ArrayLike, right: ArrayLike) -> list[tuple[float, float]]:
    """(share of rows answered, share of right answers among them), from the surest rows to all of them."""
    stated, is_right = np.asarray(confidence), np.asarray(right, dtype=np.float64)
    order = np.argsort(-stated, kind="stable")
    counted = np.arange(1, len(order) + 1)
    precision = np.cumsum(is_right[order]) / counted
    # Rows of equal confidence are answered together.
    ends = np.append(stated[order][1:] < stated[order][:-1], True)
    return [(float(n / len(order)), float(p)) for n, p in zip(counted[ends], precision[ends], strict=True)]


def confusion(labels: Sequence[str], answers: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Rows by true class (down) and answer (across), in the order of `classes` (C, C)."""
    return np.asarray(confusion_matrix(labels, answers, labels=list(classes)), dtype=np.int64)


def paired_bootstrap(correct_a: ArrayLike, correct_b: ArrayLike, *, level: float = 0.90, seed: int = 0) -> Interval:
    """What chance leaves of the difference of two methods on the same rows and seeds.

    Rows and seeds are both drawn anew, with replacement, and each draw is the same for both methods: what makes a row
    hard or a seed unlucky for both falls out. Percentile interval (Efron & Tibshirani 1993, ch. 13).

    Args:
        correct_a: how right the answer to each row was under each seed (S, N), 0..1.
        correct_b: of the other method (S, N).
        level: share of resamples within the interval (0..1).
        seed: of the resampling.
    """
    gain = np.asarray(correct_a, dtype=np.float64) - np.asarray(correct_b, dtype=np.float64)
    num_seeds, num_rows = gain.shape
    rng = np.random.default_rng(seed)
    drawn = np.empty(_RESAMPLES)
    for i in range(_RESAMPLES):
        by_row = gain[rng.integers(num_seeds, size=num_seeds)].mean(axis=0)
        drawn[i] = by_row[rng.integers(num_rows, size=num_rows)].mean()
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(100 * float(gain.mean()), 100 * float(low), 100 * float(high))
