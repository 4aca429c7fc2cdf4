"""The contract of a task: what labels are, what is minimised, how scores become answers and how these are judged.

A task is one file in `kinds/`. Everything that learns or answers asks it instead of taking for granted that a row has
one label: heads, modules, words, the baselines, calibration, reports. N rows, C labels; logits are (N, C) in the order
of the labels; targets are labels as a tensor, of whatever shape suits the task.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor

from tsugiki.data.reading import Reading
from tsugiki.data.rows import Rows
from tsugiki.data.texts import words
from tsugiki.errors import RowsError
from tsugiki.family import Family
from tsugiki.spec import Spec

# Where half of so many rows have a target of their own, of several words, these are no labels.
_FEW, _OWN_SHARE, _SENTENCE_WORDS = 20, 0.5, 3


class Answers(NamedTuple):
    """The best answer to each row and the next one, as targets, each with its probability (N,)."""

    best: Tensor
    probability: Tensor
    runner_up: Tensor
    runner_up_probability: Tensor


class Task(Spec):
    """What answers are.

    `metric` is what the mean of `match` is called. `elsewhere` are the lines of Python by which a program without
    tsugiki comes from `logits` (N, C), an array of numpy's, and `task`, the facts below, to `answers`.

    Args:
        kind: name of the task.
        labels: in the order of all logits, C of them.
    """

    kind: str
    labels: tuple[str, ...] = Field(min_length=1)
    metric: ClassVar[str]
    elsewhere: ClassVar[tuple[str, ...]]

    @property
    def number(self) -> dict[str, int]:
        """Place of each label."""
        return {label: at for at, label in enumerate(self.labels)}

    def targets(self, labels: Sequence[str]) -> Tensor:
        """Labels of rows, as they stand in `Rows`, as targets."""
        raise NotImplementedError(type(self).__name__)

    def names(self, targets: Tensor) -> list[str]:
        """Targets as labels of rows."""
        raise NotImplementedError(type(self).__name__)

    def known(self, targets: Tensor) -> Tensor:
        """Rows whose labels training knows, bool (N,); the others say nothing about a loss, and no answer is right."""
        raise NotImplementedError(type(self).__name__)

    def indicator(self, targets: Tensor) -> Tensor:
        """Which labels each row has, 0 or 1 (N, C) float."""
        raise NotImplementedError(type(self).__name__)

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """What is minimised, for each row (N,); differentiable through the logits."""
        raise NotImplementedError(type(self).__name__)

    def slope(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (N,) and their gradient with respect to the logits (N, C)."""
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            losses = self.losses(leaf, targets)
            (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        return losses.detach(), gradient

    def prior(self, targets: Tensor) -> Tensor:
        """Logits (C,) that say how frequent labels are among some rows, whatever a row says."""
        raise NotImplementedError(type(self).__name__)

    def choose(self, logits: Tensor) -> Tensor:
        """Answers as targets."""
        raise NotImplementedError(type(self).__name__)

    def match(self, found: Tensor, wanted: Tensor) -> Tensor:
        """How right answers are, both as targets, (N,) 0..1; their mean is the score."""
        raise NotImplementedError(type(self).__name__)

    def answers(self, logits: Tensor) -> Answers:
        """Answers with what comes next and how probable both are; `best` is what `choose` gives."""
        raise NotImplementedError(type(self).__name__)

    def mix(self, first: Tensor, second: Tensor, share: float) -> Tensor:
        """Logits of two sources joined, the second with weight `share`, (N, C)."""
        raise NotImplementedError(type(self).__name__)

    def fitted(self, logits: Tensor, targets: Tensor) -> "Task":  # noqa: ARG002
        """The task with what it chooses on validation rows, such as thresholds."""
        return self

    def scores(self, labels: Sequence[str], answers: Sequence[str]) -> dict[str, float]:  # noqa: ARG002
        """What else there is to say about answers, by the name of the score."""
        return {}

    @classmethod
    def of(cls, labels: Sequence[str], grades: Sequence[str]) -> Self:  # noqa: ARG003
        """The task for rows that have these labels, each once; `grades` is their order where the user gave one.

        Raises:
            RowsError: the labels do not fit the task.
        """
        return cls(kind=cls.model_fields["kind"].default, labels=tuple(labels))

    # --- what follows from these

    def measure(self, logits: Tensor, targets: Tensor) -> tuple[float, float]:
        """Score (0..1) and mean loss; the loss is infinite where no row says anything about it."""
        known = self.known(targets)
        # In double precision, so that 54 of 60 are what somebody wrote who wants 0.9.
        score = self.match(self.choose(logits), targets).double().mean()
        return float(score), float(self.losses(logits[known], targets[known]).mean()) if known.any() else math.inf

    def agreement(self, labels: Sequence[str], answers: Sequence[str]) -> Tensor:
        """How right answers are to rows, both as labels, (N,) 0..1."""
        return self.match(self.targets(answers), self.targets(labels))

    def settings(self) -> dict[str, Any]:
        """As a manifest keeps it."""
        return self.model_dump(mode="json")


TASKS: Family[Task] = Family("tsugiki.tasks.kinds", Task)


def task_for(rows: Rows, reading: Reading) -> Task:
    """The task that labelled rows are for: the one that was named, or what follows from their labels.

    Raises:
        ConfigError: there is no such task.
        RowsError: the labels do not fit it.
    """
    if reading.task is None and not reading.grades and not rows.several:
        _require_labels(rows)
    kind = reading.task or ("grade" if reading.grades else "tag" if rows.several else "classify")
    return TASKS.load(kind).of(rows.classes, reading.grades)


def _require_labels(rows: Rows) -> None:
    """Refuse what reads like texts that are to be written.

    Raises:
        RowsError: most rows have a target of their own, of several words.
    """
    labels = rows.labels or ()
    different = set(labels)
    if len(labels) < _FEW or len(different) < _OWN_SHARE * len(labels):
        return
    if sum(len(words(label)) for label in different) >= _SENTENCE_WORDS * len(different):
        raise RowsError("writing.unclear_task", different=len(different), rows=len(labels))


def task_of(facts: Mapping[str, Any]) -> Task:
    """The task that a manifest describes, among other facts of its own."""
    fields = TASKS.load(str(facts.get("kind", ""))).model_fields
    return TASKS.parse({name: value for name, value in facts.items() if name in fields})
