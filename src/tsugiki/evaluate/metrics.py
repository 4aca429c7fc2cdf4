"""Scores of answers, and how far chance may have moved them.

Scores are shares (0..1); what is left of a difference of two scores is said in points (of 100). N is the number of
rows, S of seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

_RESAMPLES = 2_000


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


def accuracy(labels: Sequence[str], answers: Sequence[str]) -> float:
    """Share of rows that are answered right (0..1)."""
    return float(np.mean([a == b for a, b in zip(labels, answers, strict=True)]))


def macro_f1(labels: Sequence[str], answers: Sequence[str]) -> float:
    """Mean F1 over all classes that have a row or an answer (0..1); a class that is never answered brings 0."""
    return float(f1_score(labels, answers, average="macro", zero_division=0.0))


def class_scores(labels: Sequence[str], answers: Sequence[str], classes: Sequence[str]) -> list[ClassScore]:
    """Precision, recall, F1 and rows of each class, in the order of `classes`."""
    columns = precision_recall_fscore_support(labels, answers, labels=list(classes), zero_division=0.0)
    return [
        ClassScore(label, float(precision), float(recall), float(f1), int(rows))
        for label, precision, recall, f1, rows in zip(classes, *columns, strict=True)
    ]


def confusion(labels: Sequence[str], answers: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Rows by true class (down) and answer (across), in the order of `classes` (C, C)."""
    return np.asarray(confusion_matrix(labels, answers, labels=list(classes)), dtype=np.int64)


def paired_bootstrap(correct_a: ArrayLike, correct_b: ArrayLike, *, level: float = 0.90, seed: int = 0) -> Interval:
    """What chance leaves of the difference of two methods on the same rows and seeds.

    Rows and seeds are both drawn anew, with replacement, and each draw is the same for both methods: what makes a row
    hard or a seed unlucky for both falls out. Percentile interval (Efron & Tibshirani 1993, ch. 13).

    Args:
        correct_a: whether each row was answered right under each seed (S, N).
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
