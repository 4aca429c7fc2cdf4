"""Work for every group that no domain owns (Switch Transformer, Fedus et al. 2022)."""

from typing import Literal

from pydantic import PositiveFloat
from torch import Tensor

from tsugiki.adapt.gating import Decision
from tsugiki.train.loss import Loss


class Balance(Loss):
    """Least where all groups act equally often. Domains are left alone: they are skewed by nature."""

    kind: Literal["balance"] = "balance"
    weight: PositiveFloat = 0.01

    def of(self, seen: Decision, weight: Tensor) -> Tensor:
        """Number of groups times the sum over them of the share of rows and the mean share of the scores."""
        told = seen.others
        acting = (told > 0).float().mean(0)
        shares = told.softmax(1).mean(0)
        return weight * told.shape[1] * (acting / acting.sum().clamp(min=1e-6) * shares).sum()
