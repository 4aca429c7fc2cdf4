"""How good an adapter's answers are on labelled rows."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from numpy.typing import NDArray

from tsugiki.data.rows import Rows
from tsugiki.errors import RowsError
from tsugiki.evaluate.confidence import Automatic, confidence_of
from tsugiki.evaluate.metrics import ClassScore, class_scores, confusion, macro_f1
from tsugiki.review import Review
from tsugiki.tasks.task import Task

if TYPE_CHECKING:
    from tsugiki.tasks.adapter import Adapter


class Scorer(Protocol):
    """What can be evaluated: a task, and one score per label for each text."""

    @property
    def task(self) -> Task:
        """What it answers."""

    def scores(self, texts: Sequence[str]) -> NDArray[Any]:
        """Logits (N, C) in the order of the task's labels."""


@dataclass(frozen=True)
class OfDomains:
    """An adapter that is told from which domain each row is.

    Args:
        adapter: with modules of domains.
        domains: of the rows that it will be asked, empty where one is not known.
    """

    adapter: "Adapter"
    domains: Sequence[str]

    @property
    def task(self) -> Task:
        """That of the adapter."""
        return self.adapter.task

    def scores(self, texts: Sequence[str]) -> NDArray[Any]:
        """Logits under the modules of the domains."""
        return self.adapter.scores(texts, self.domains)


@dataclass(frozen=True)
class Evaluation:
    """What came of answering rows.

    Args:
        score: how right answers are in the mean (0..1).
        metric: what that is, such as `accuracy`.
        macro_f1: mean F1 over the classes (0..1).
        num_rows: N.
        labels: of the classes: those of the adapter, then those that only the rows have.
        classes: scores of each class, in that order.
        confusion: rows by true class (down) and answer (across), in that order; empty where rows have several.
        further: other scores of the task, by their names.
        calibration_error: how far confidence is from the share of right answers (0..1).
        coverage: (share of rows answered, share of right answers among them), from the surest rows to all.
        automatic: at the wanted precision; None where validation said nothing of confidence.
    """

    score: float
    metric: str
    macro_f1: float
    num_rows: int
    labels: tuple[str, ...]
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    further: dict[str, float] = field(default_factory=dict)
    calibration_error: float = math.nan
    coverage: tuple[tuple[float, float], ...] = ()
    automatic: Automatic | None = None

    def _repr_html_(self) -> str:
        """In a notebook: scores by class, what is taken for what, and how much needs no review."""
        from tsugiki.report.html import evaluation_part
        from tsugiki.report.plots import confusion_picture, coverage_picture, png

        pictures = {}
        if self.confusion:
            pictures["report.confusion"] = png(confusion_picture, self)
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
        adapter: with its task.
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
    task = adapter.task
    logits, targets = torch.from_numpy(adapter.scores(rows.texts)).float(), task.targets(rows.labels)
    chosen = task.choose(logits)
    answers = task.names(chosen)
    labels = (*task.labels, *(label for label in rows.classes if label not in task.number))
    confidence = confidence_of(task, logits, targets, review, target_precision)
    table = () if rows.several else confusion(rows.labels, answers, labels).tolist()
    return Evaluation(
        score=float(task.match(chosen, targets).mean()),
        metric=task.metric,
        macro_f1=macro_f1(rows, answers),
        num_rows=len(rows),
        labels=labels,
        classes=tuple(class_scores(rows, answers, labels)),
        confusion=tuple(tuple(row) for row in table),
        further=task.scores(rows.labels, answers),
        calibration_error=confidence.calibration_error,
        coverage=confidence.coverage,
        automatic=confidence.automatic,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
