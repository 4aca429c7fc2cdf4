"""All modules, and nothing as one among them: dense, for reference."""

from typing import Literal

import torch
from torch import Tensor

from tsugiki.adapt.router import Router


class Softmax(Router):
    """Weights and that of nothing, whose score is zero, add to one."""

    kind: Literal["softmax"] = "softmax"

    def weights(self, scores: Tensor) -> Tensor:
        """As the contract says."""
        nothing = scores.new_zeros(len(scores), 1)
        return torch.cat([scores, nothing], 1).softmax(1)[:, :-1]
