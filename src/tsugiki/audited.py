"""What an audit of modules found on many rows: who acts, who matters, who repeats or hurts whom. Torch-free."""

from typing import Literal

from pydantic import Field

from tsugiki.spec import Spec

ERRORS = 1.96
"""Standard errors of a mean, between which it lies in 19 of 20 cases."""
# In nats; less is nothing that anybody would notice in a probability.
LITTLE = 0.01

Kind = Literal["redundant", "conflict", "needed", "none"]


class Member(Spec):
    """The modules of an adapter, or of a group of one, in one layer.

    Args:
        name: of the adapter or the group.
        layer: where they stand.
        num_modules: of them.
        activity: share of the rows on which they act (0..1).
        weight: with which they do, in the mean.
        effect: what they bring to the right answer where they act: its log-likelihood less that without them, in nats,
            in the mean.
        error: standard error of that mean; infinite means that it is not known.
        agreement: rank correlation of weight and effect over the rows; None where the weight is always the same, or
            they act on too few rows.
    """

    name: str
    layer: int
    num_modules: int
    activity: float
    weight: float
    effect: float
    error: float | None
    agreement: float | None = None

    @property
    def is_dead(self) -> bool:
        """Whether they never act, or do without anything coming of it."""
        if not self.activity:
            return True
        return self.error is not None and abs(self.effect) + ERRORS * self.error < LITTLE


class Pair(Spec):
    """Two of them on the rows where both act.

    Args:
        first: number of one.
        second: number of the other.
        num_rows: where both act.
        together: what the answer loses without both, in nats, in the mean.
        alone: what it loses without the first alone, and without the second alone.
        instead: what each of them brings where the other is not.
        beyond: what they bring together beyond what each brings where the other is not: below zero each covers for the
            other.
        error: standard error of that mean.
    """

    first: int
    second: int
    num_rows: int
    together: float
    alone: tuple[float, float]
    instead: tuple[float, float]
    beyond: float
    error: float | None

    @property
    def kind(self) -> Kind:
        """What they are to each other, as far as the rows tell.

        `conflict`: each helps where the other is not, and hurts where it is. `redundant`: together they bring more
        than each is missed for. `needed`: each brings more where the other is.
        """
        if self.error is None or abs(self.beyond) < max(LITTLE, ERRORS * self.error):
            return "none"
        if self.beyond > 0:
            return "needed"
        hurts = max(self.alone) < -LITTLE and min(self.instead) > LITTLE
        return "conflict" if hurts else "redundant"


class Audit(Spec):
    """Everything that was found.

    Args:
        adapter: that was audited.
        num_rows: that it was asked.
        num_unanswered: of which no adapter of a set knows anything.
        members: by layer.
        pairs: of all that act on some row together.
        activity: share of the rows of each domain, or else label, on which each name acts, `{domain: {name: share}}`.
    """

    adapter: str
    num_rows: int
    num_unanswered: int
    members: tuple[Member, ...]
    pairs: tuple[Pair, ...]
    activity: dict[str, dict[str, float]] = Field(default_factory=dict)
