"""One label per row, and the labels have an order: A, B, C, or how bad a scratch is from 1 to 5."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from sklearn.metrics import cohen_kappa_score
from torch import Tensor

from tsugiki.data.labels import in_order
from tsugiki.data.table import shown
from tsugiki.errors import RowsError
from tsugiki.tasks.kinds.classify import Classify


class Grade(Classify):
    """Learnt as classes and answered by the median of their distribution, which errs by the fewest grades expected.

    The labels stand in their order, lowest first.
    """

    kind: Literal["grade"] = "grade"  # type: ignore[assignment]
    metric: ClassVar[str] = "closeness"
    elsewhere: ClassVar[tuple[str, ...]] = (
        "shares = numpy.exp(logits - logits.max(1, keepdims=True))",
        "reached = (shares / shares.sum(1, keepdims=True)).cumsum(1)",
        'answers = [task["labels"][i] for i in (reached < 0.5 - 1e-6).sum(1).clip(max=len(task["labels"]) - 1)]',
    )

    @classmethod
    def of(cls, labels: Sequence[str], grades: Sequence[str]) -> Self:
        """In the order that was given, or in that of the numbers that they are.

        Raises:
            RowsError: labels are no numbers and have no order, or some are not in it.
        """
        if grades and (strange := set(labels) - set(grades)):
            raise RowsError("data.strange_grade", found=shown(sorted(strange)), allowed=shown(grades))
        ordered = in_order(labels, grades)
        if ordered is None:
            raise RowsError("data.no_order", found=shown(labels))
        return cls(labels=ordered)

    def choose(self, logits: Tensor) -> Tensor:
        """The lowest grade that at least half of the probability does not exceed."""
        return (logits.softmax(-1).cumsum(-1) < 0.5 - 1e-6).sum(-1).clamp(max=len(self.labels) - 1)

    def match(self, found: Tensor, wanted: Tensor) -> Tensor:
        """1 where it is the grade, 0 where it is the other end of the scale, and in between by the distance."""
        steps = max(1, len(self.labels) - 1)
        return (1.0 - (found - wanted).abs() / steps).where((found >= 0) & (wanted >= 0), 0.0)

    def scores(self, labels: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
        """Mean error in grades, and Cohen's kappa with quadratic weights (1968)."""
        truth, found = self.targets(labels), self.targets(answers)
        known = self.known(truth) & self.known(found)
        if not known.any():
            return {}
        places = list(range(len(self.labels)))
        kappa = cohen_kappa_score(truth[known].tolist(), found[known].tolist(), labels=places, weights="quadratic")
        error = (truth - found)[known].abs().float().mean()
        scores = {"mean_error_grades": float(error), "weighted_kappa": float(kappa)}
        # Where all is one grade, chance explains everything and kappa says nothing.
        return {name: value for name, value in scores.items() if math.isfinite(value)}
