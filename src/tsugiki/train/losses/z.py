"""Scores of a size that can be computed with (ST-MoE, Zoph et al. 2022)."""

from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor

from tsugiki.adapt.gating import Decision
from tsugiki.train.loss import Loss


class Z(Loss):
    """The square of the logarithm of what all scores and that of nothing come to."""

    kind: Literal["z"] = "z"
    weight: PositiveFloat = 1e-3

    def of(self, seen: Decision, weight: Tensor) -> Tensor:
        """As the contract says."""
        told = seen.others
        nothing = told.new_zeros(len(told), 1)
        return weight * torch.cat([told, nothing], 1).logsumexp(1).square().mean()
