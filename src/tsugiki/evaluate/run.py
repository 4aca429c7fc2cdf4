"""How good an adapter's answers are on labelled rows."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from tsugiki.data.rows import Rows
from tsugiki.errors import RowsError
from tsugiki.evaluate.metrics import (
    ClassScore,
    accuracy,
    calibration_error,
    class_scores,
    confusion,
    coverage,
    macro_f1,
    share_interval,
)
from tsugiki.review import Review

_MOST_POINTS = 200


class Scorer(Protocol):
    """What can be evaluated: labels, and one score per label for each text."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it knows, C of them."""

    def scores(self, texts: Sequence[str]) -> NDArray[Any]:
        """Logits (N, C) in the order of `labels`."""


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
class Evaluation:
    """What came of answering rows.

    Args:
        accuracy: share answered right (0..1).
        macro_f1: mean F1 over the classes (0..1).
        num_rows: N.
        labels: of the classes: those of the adapter, then those that only the rows have.
        classes: scores of each class, in that order.
        confusion: rows by true class (down) and answer (across), in that order.
        calibration_error: how far confidence is from the share of right answers (0..1).
        coverage: (share of rows answered, share of right answers among them), from the surest rows to all.
        automatic: at the wanted precision; None where validation said nothing of confidence.
    """

    accuracy: float
    macro_f1: float
    num_rows: int
    labels: tuple[str, ...]
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float = math.nan
    coverage: tuple[tuple[float, float], ...] = ()
    automatic: Automatic | None = None

    def _repr_html_(self) -> str:
        """In a notebook: scores by class, what is taken for what, and how much needs no review."""
        from tsugiki.report.html import evaluation_part
        from tsugiki.report.plots import confusion_picture, coverage_picture, png

        pictures = {"report.confusion": png(confusion_picture, self)}
        if self.coverage:
            pictures["report.coverage"] = png(coverage_picture, self)
        return evaluation_part(self, pictures)

    def to_json(self) -> str:
        """Everything, as one JSON object; what is not a number is null."""
        return json.dumps(_plain(asdict(self)), ensure_ascii=False, indent=2)


def evaluate(
    adapter: Scorer, rows: Rows, review: Review | None = None, target_precision: float | None = None
) -> Evaluation:
    """Answer rows and compare with their labels; a label that the adapter does not know counts as an error.

    Args:
        adapter: with its labels.
        rows: with labels, at least one row.
        review: what validation said of confidence, from the adapter's manifest.
        target_precision: that automatic answers shall have (0..1); None takes the one of training.

    Raises:
        RowsError: there is no row, or rows have no labels.
    """
    if not len(rows):
        raise RowsError("evaluate.empty")
    if rows.labels is None:
        raise RowsError("evaluate.no_labels")
    probabilities = softmax(np.asarray(adapter.scores(rows.texts), dtype=np.float64), axis=1)
    confidence = probabilities.max(axis=1)
    answers = [adapter.labels[i] for i in probabilities.argmax(axis=1).tolist()]
    right = np.array([answer == label for answer, label in zip(answers, rows.labels, strict=True)])
    labels = (*adapter.labels, *sorted(set(rows.labels) - set(adapter.labels)))
    return Evaluation(
        accuracy=accuracy(rows.labels, answers),
        macro_f1=macro_f1(rows.labels, answers),
        num_rows=len(rows),
        labels=labels,
        classes=tuple(class_scores(rows.labels, answers, labels)),
        confusion=tuple(tuple(row) for row in confusion(rows.labels, answers, labels).tolist()),
        calibration_error=calibration_error(confidence, right),
        coverage=tuple(_thinned(coverage(confidence, right))),
        automatic=_automatic(review, target_precision, confidence, right) if review else None,
    )


def _automatic(review: Review, wanted: float | None, confidence: NDArray[Any], right: NDArray[Any]) -> Automatic:
    threshold = review.rule(wanted).threshold
    used = confidence >= threshold - 1e-6
    precision = float(right[used].mean()) if used.any() else math.nan
    interval = share_interval(int(right[used].sum()), int(used.sum()))
    return Automatic(wanted or review.wanted, threshold, float(used.mean()), precision, *interval)


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return points[:: math.ceil(len(points) / _MOST_POINTS)][:-1] + points[-1:]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
