"""Every module that is better than nothing, as strongly as it is wanted (ReMoE, Wang et al. 2024)."""

from typing import Literal

from pydantic import PositiveFloat
from torch import Tensor

from tsugiki.adapt.router import Router


class Threshold(Router):
    """A gate that is closed up to zero and opens in proportion beyond.

    Args:
        most: weight of a module at most.
    """

    kind: Literal["threshold"] = "threshold"
    most: PositiveFloat = 1.0

    def weights(self, scores: Tensor) -> Tensor:
        """As the contract says."""
        return scores.clamp(0.0, self.most)
