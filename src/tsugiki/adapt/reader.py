"""The contract of a reader: what turns token states into one vector per sequence, and never writes into the base."""

import math

import torch
from torch import Tensor

from tsugiki.family import Family
from tsugiki.spec import Spec


class Reader(Spec):
    """Frozen data and pure functions, like a form. A fresh reader is mean pooling."""

    kind: str

    def shapes(self, num_states: int, width: int) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter for K states of width d."""
        raise NotImplementedError(type(self).__name__)

    def read(self, params: dict[str, Tensor], states: Tensor, mask: Tensor) -> Tensor:
        """Pool.

        Args:
            params: as `shapes` says.
            states: K states, (K, B, S, d).
            mask: 1 for tokens, 0 for padding, (B, S).

        Returns:
            Features, (B, K * d), state by state.
        """
        raise NotImplementedError(type(self).__name__)

    def init(self, num_states: int, width: int) -> dict[str, Tensor]:
        """Parameters of a fresh reader: zeros, float32."""
        return {name: torch.zeros(shape) for name, shape in self.shapes(num_states, width).items()}

    def num_params(self, num_states: int, width: int) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes(num_states, width).values())


READERS: Family[Reader] = Family("tsugiki.adapt.readers", Reader)


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens of each sequence: (..., B, S, d) and (B, S) to (..., B, d), float32."""
    weights = mask.to(torch.float32) / mask.sum(-1, keepdim=True).clamp(min=1)
    return torch.einsum("...bsd,bs->...bd", states.float(), weights)
