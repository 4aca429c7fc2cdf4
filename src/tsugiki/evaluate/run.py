"""How good an adapter's answers are on labelled rows."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tsugiki.data.rows import Rows
from tsugiki.errors import RowsError
from tsugiki.evaluate.metrics import ClassScore, accuracy, class_scores, confusion, macro_f1


class Scorer(Protocol):
    """What can be evaluated: labels, and one score per label for each text."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it knows, C of them."""

    def scores(self, texts: Sequence[str]) -> NDArray[Any]:
        """Logits (N, C) in the order of `labels`."""


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
    """

    accuracy: float
    macro_f1: float
    num_rows: int
    labels: tuple[str, ...]
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_json(self) -> str:
        """Everything, as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)


def evaluate(adapter: Scorer, rows: Rows) -> Evaluation:
    """Answer rows and compare with their labels; a label that the adapter does not know counts as an error.

    Args:
        adapter: with its labels.
        rows: with labels, at least one row.

    Raises:
        RowsError: there is no row, or rows have no labels.
    """
    if not len(rows):
        raise RowsError("evaluate.empty")
    if rows.labels is None:
        raise RowsError("evaluate.no_labels")
    best = np.asarray(adapter.scores(rows.texts)).argmax(axis=1)
    answers = [adapter.labels[i] for i in best.tolist()]
    labels = (*adapter.labels, *sorted(set(rows.labels) - set(adapter.labels)))
    return Evaluation(
        accuracy=accuracy(rows.labels, answers),
        macro_f1=macro_f1(rows.labels, answers),
        num_rows=len(rows),
        labels=labels,
        classes=tuple(class_scores(rows.labels, answers, labels)),
        confusion=tuple(tuple(row) for row in confusion(rows.labels, answers, labels).tolist()),
    )
