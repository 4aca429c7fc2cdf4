"""Mean pooling: nothing to learn."""

from typing import Literal

from torch import Tensor

from tsugiki.adapt.reader import Reader, mean_pool


class Mean(Reader):
    """The mean of the token states of each layer that is read."""

    kind: Literal["mean"] = "mean"

    def shapes(self, num_states: int, width: int) -> dict[str, tuple[int, ...]]:
        """No parameters."""
        return {}

    def read(self, params: dict[str, Tensor], states: Tensor, mask: Tensor) -> Tensor:
        """Means, (B, K * d)."""
        return mean_pool(states, mask).transpose(0, 1).flatten(1)
