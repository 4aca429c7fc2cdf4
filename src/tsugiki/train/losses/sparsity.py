"""As few groups as wanted: a loss whose weight follows the share that acts (as in ReMoE, Wang et al. 2024)."""

from typing import Literal

from pydantic import Field, PositiveFloat
from torch import Tensor

from tsugiki.adapt.gating import Decision
from tsugiki.train.loss import Loss


class Sparsity(Loss):
    """Pulls open gates down where too many act, and closed ones up where too few do; nobody tunes it.

    ReMoE raises and lowers the weight of an L1 loss step by step. What that has closed no loss opens again, since a
    closed gate has no gradient: its share sank to a hundredth of the target. Here the weight is in proportion to how
    far the share is off, and below the target it turns round. What is still missing in the end all gates are moved by.

    Args:
        active: share of the groups without a domain that is to act (0..1).
    """

    kind: Literal["sparsity"] = "sparsity"
    weight: PositiveFloat = 1.0
    active: float = Field(default=0.25, gt=0, lt=1)

    def of(self, seen: Decision, weight: Tensor) -> Tensor:
        """Weight times the mean of what stands above zero; where the weight is negative, of what stands below."""
        mean = seen.others.relu().mean().where(weight > 0, seen.others.clamp(max=0.0).mean())
        return weight * mean

    def adapted(self, active: float) -> float:
        """In proportion to how far the share is off."""
        return self.weight * (active / self.active - 1.0)

    def shift(self, told: Tensor) -> float:
        """So far that the target share of them stands above zero."""
        place = min(len(told) - 1, round((1.0 - self.active) * len(told)))
        return -float(told.sort().values[max(0, place - 1)])
