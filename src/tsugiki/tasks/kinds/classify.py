"""One label per row."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from tsugiki.tasks.task import Answers, Task


class Classify(Task):
    """The most probable label answers. Targets are places of labels, int64 (N,); -1 for one that training lacks."""

    kind: Literal["classify"] = "classify"
    metric: ClassVar[str] = "accuracy"
    elsewhere: ClassVar[tuple[str, ...]] = ('answers = [task["labels"][i] for i in logits.argmax(1)]',)

    def targets(self, labels: Sequence[str]) -> Tensor:
        """Places of labels."""
        number = self.number
        return torch.tensor([number.get(label, -1) for label in labels], dtype=torch.int64)

    def names(self, targets: Tensor) -> list[str]:
        """Labels at places."""
        return [self.labels[at] for at in targets.tolist()]

    def known(self, targets: Tensor) -> Tensor:
        """Rows with a label of training."""
        return targets >= 0

    def indicator(self, targets: Tensor) -> Tensor:
        """One-hot; zeros for an unknown label."""
        return functional.one_hot(targets + 1, len(self.labels) + 1)[:, 1:].float()

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(logits, targets, reduction="none")

    def slope(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities less the indicator, written out: autograd would keep and copy (N, C) several times."""
        rows = torch.arange(len(targets))
        normed = logits.log_softmax(-1)
        losses, slope = -normed[rows, targets], normed.exp()
        slope[rows, targets] -= 1.0
        return losses, slope

    def prior(self, targets: Tensor) -> Tensor:
        """Log-shares; a label without rows counts half a row."""
        counts = self.indicator(targets).sum(0) + 0.5
        return (counts / counts.sum()).log()

    def choose(self, logits: Tensor) -> Tensor:
        """The highest logit."""
        return logits.argmax(-1)

    def match(self, found: Tensor, wanted: Tensor) -> Tensor:
        """1 where it is the label."""
        return ((found == wanted) & (wanted >= 0)).float()

    def answers(self, logits: Tensor) -> Answers:
        """The two most probable labels; a lone label has no next one but itself, which never is right."""
        probabilities = logits.softmax(-1)
        best = self.choose(logits)
        rows = torch.arange(len(best))
        rest = probabilities.clone()
        rest[rows, best] = 0.0
        value, second = rest.max(-1)
        return Answers(best, probabilities[rows, best], second, value)

    def mix(self, first: Tensor, second: Tensor, share: float) -> Tensor:
        """A weighted mean of log-probabilities."""
        return (1 - share) * first.log_softmax(-1) + share * second.log_softmax(-1)
