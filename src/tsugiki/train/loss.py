"""The contract of a loss that gates are held to beside that of the task."""

from pydantic import ConfigDict, PositiveFloat
from torch import Tensor

from tsugiki.adapt.gating import Decision
from tsugiki.family import Family
from tsugiki.spec import Spec


class Loss(Spec):
    """A loss of what gates decided; groups of domains are left alone, since their gate is told.

    Args:
        weight: by which it is multiplied, at the beginning.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    kind: str
    weight: PositiveFloat

    def of(self, seen: Decision, weight: Tensor) -> Tensor:
        """Weighted mean over the rows of a decision, a scalar."""
        raise NotImplementedError(type(self).__name__)

    def adapted(self, active: float) -> float:  # noqa: ARG002
        """The weight for the next step, after one in which this share of the groups without a domain acted (0..1)."""
        return self.weight

    def shift(self, told: Tensor) -> float:  # noqa: ARG002
        """By how much all gates are moved when training is over, from the scores (M,) that they then give."""
        return 0.0


LOSSES: Family[Loss] = Family("tsugiki.train.losses", Loss)
