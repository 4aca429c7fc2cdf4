"""The modules that are wanted most (Shazeer et al. 2017)."""

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor

from tsugiki.adapt.router import Router, shares
from tsugiki.errors import RoutingError


class TopK(Router):
    """The best `k` that are better than nothing; their weights add to one.

    Args:
        k: modules for a row at most.
    """

    kind: Literal["top_k"] = "top_k"
    k: PositiveInt = 1

    def weights(self, scores: Tensor) -> Tensor:
        """As the contract says."""
        if self.k > scores.shape[1]:
            raise RoutingError("routing.k", found=self.k, allowed=scores.shape[1])
        best = scores.topk(self.k, 1).indices
        kept = torch.zeros_like(scores, dtype=torch.bool).scatter(1, best, True)
        return shares(torch.where(kept, scores, -torch.inf))
