"""Any number of labels per row, also none."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import model_validator
from sklearn.metrics import f1_score
from torch import Tensor
from torch.nn import functional

from tsugiki.data.labels import join, split
from tsugiki.tasks.task import Answers, Task

# Pseudo-rows at one half by which a threshold of few rows is kept from running after chance.
_CAUTION = 1.0


class Tag(Task):
    """A label answers where its probability reaches its threshold.

    Targets are 0 or 1 for each label and a last column for a row that has a label which training lacks, float
    (N, C + 1).

    Args:
        thresholds: of each label (0..1), chosen on validation; empty: one half for all.
    """

    kind: Literal["tag"] = "tag"
    thresholds: tuple[float, ...] = ()
    metric: ClassVar[str] = "row_f1"
    elsewhere: ClassVar[tuple[str, ...]] = (
        'thresholds = numpy.array(task["thresholds"] or [0.5] * len(task["labels"]))',
        "reached = logits >= numpy.log(thresholds / (1 - thresholds))",
        'answers = [";".join(label for label, is_one in zip(task["labels"], row) if is_one) for row in reached]',
    )

    @model_validator(mode="after")
    def _one_each(self) -> "Tag":
        if self.thresholds and len(self.thresholds) != len(self.labels):
            raise ValueError(f"{len(self.thresholds)} thresholds for {len(self.labels)} labels")
        return self

    def targets(self, labels: Sequence[str]) -> Tensor:
        """Indicators of the labels that are joined in each."""
        number, strange = self.number, len(self.labels)
        targets = torch.zeros(len(labels), strange + 1)
        for row, joined in enumerate(labels):
            for label in split(joined):
                targets[row, number.get(label, strange)] = 1.0
        return targets

    def names(self, targets: Tensor) -> list[str]:
        """Labels joined; empty where there are none."""
        return [join(self.labels[at] for at in row[:-1].nonzero().flatten().tolist()) for row in targets]

    def known(self, targets: Tensor) -> Tensor:
        """All rows: what is known of them says something about every label."""
        return torch.ones(len(targets), dtype=torch.bool)

    def indicator(self, targets: Tensor) -> Tensor:
        """All columns but the last."""
        return targets[:, :-1]

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each label's yes or no, added up."""
        return functional.binary_cross_entropy_with_logits(logits, targets[:, :-1], reduction="none").sum(-1)

    def slope(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities less the indicator."""
        return self.losses(logits, targets), logits.sigmoid() - targets[:, :-1]

    def prior(self, targets: Tensor) -> Tensor:
        """Log-odds of each label."""
        return ((self.indicator(targets).sum(0) + 0.5) / (len(targets) + 1.0)).logit()

    def choose(self, logits: Tensor) -> Tensor:
        """Labels at or above their thresholds."""
        chosen = (logits >= self._limits(logits)).float()
        return functional.pad(chosen, (0, 1))

    def match(self, found: Tensor, wanted: Tensor) -> Tensor:
        """F1 of each row's labels; 1 where there are none and none is answered."""
        both, total = (found * wanted).sum(-1), found.sum(-1) + wanted.sum(-1)
        return torch.where(total > 0, 2 * both / total.clamp(min=1.0), 1.0)

    def answers(self, logits: Tensor) -> Answers:
        """The labels, and the same with the most doubtful of them turned round.

        The probability is that of every yes and no being right, as if they knew nothing of each other.
        """
        best, limits = self.choose(logits), self._limits(logits)
        yes = best[:, :-1] > 0
        sure = torch.where(yes, functional.logsigmoid(logits), functional.logsigmoid(-logits))
        rows, doubtful = torch.arange(len(logits)), (logits - limits).abs().argmin(-1)
        other = best.clone()
        other[rows, doubtful] = 1.0 - other[rows, doubtful]
        whole, odds = sure.sum(-1), logits[rows, doubtful]
        turned = whole + torch.where(yes[rows, doubtful], -odds, odds)
        return Answers(best, whole.exp(), other, turned.exp())

    def mix(self, first: Tensor, second: Tensor, share: float) -> Tensor:
        """A weighted mean of log-odds."""
        return (1 - share) * first + share * second

    def fitted(self, logits: Tensor, targets: Tensor) -> "Tag":
        """With the threshold of each label under which validation has its best F1.

        Candidates lie midway between neighbouring probabilities. F1 with a pseudo-row of one half each of right, wrong
        and missed favours one half where a label has few rows.
        """
        if not len(logits):
            return self
        probabilities, wanted = logits.sigmoid().double(), self.indicator(targets)
        found = [_threshold(probabilities[:, at], wanted[:, at] > 0) for at in range(len(self.labels))]
        return self.model_copy(update={"thresholds": tuple(found)})

    def scores(self, labels: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
        """F1 over all yes and no, and the share of rows whose labels are all right."""
        truth, found = self.targets(labels), self.targets(answers)
        right = (truth == found).all(-1).float().mean()
        return {
            "micro_f1": float(f1_score(truth.numpy(), found.numpy(), average="micro", zero_division=0.0)),
            "exact_share": float(right),
        }

    def _limits(self, logits: Tensor) -> Tensor:
        """Thresholds as logits (C,)."""
        if not self.thresholds:
            return torch.zeros(len(self.labels), dtype=logits.dtype)
        return torch.tensor(self.thresholds, dtype=torch.float64).logit().to(logits.dtype)


def _threshold(probabilities: Tensor, wanted: Tensor) -> float:
    order = probabilities.argsort(descending=True)
    # From answering no row at all to answering all of them.
    edges = torch.cat([torch.ones(1), probabilities[order], torch.zeros(1)]).double()
    right = torch.cat([torch.zeros(1), wanted[order].float().cumsum(0)]).double()
    answered = torch.arange(len(order) + 1, dtype=torch.float64)
    f1 = (2 * right + _CAUTION) / (answered + wanted.sum() + 2 * _CAUTION)
    # Rows of equal probability are answered alike.
    ends = torch.cat([edges[1:-1] < edges[:-2], torch.tensor([True])])
    limits, f1 = ((edges[:-1] + edges[1:]) / 2)[ends], f1[ends]
    best = f1 >= f1.max() - 1e-12
    usual = (limits - 0.5).abs().where(best, torch.inf).argmin()
    return round(float(limits[usual].clamp(1e-4, 1 - 1e-4)), 6)
