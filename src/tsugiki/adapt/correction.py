"""What rows taught a router on top of the densities of adapters: a linear function of states."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tsugiki.adapt.statistics import PROJECTED
from tsugiki.errors import PackageError


@dataclass(frozen=True)
class Correction:
    """Nats to add to densities where adapters are weighed against each other.

    Args:
        weight: of projected states, (E, 128).
        bias: (E,).
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def none(cls, adapters: int) -> "Correction":
        """Of a router that was taught nothing."""
        return cls(torch.zeros(adapters, PROJECTED), torch.zeros(adapters))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], adapters: int, *, path: object) -> "Correction":
        """Read one for at most so many adapters and believe nothing of it.

        Raises:
            PackageError: tensors are missing, of another shape, or hold what is not a number.
        """
        found = {name: (str(tensor.dtype), tuple(tensor.shape)) for name, tensor in tensors.items()}
        taught = len(tensors["bias"]) if "bias" in tensors and tensors["bias"].dim() == 1 else 0
        allowed = {"weight": ("torch.float32", (taught, PROJECTED)), "bias": ("torch.float32", (taught,))}
        if found != allowed or not 0 < taught <= adapters or not all(t.isfinite().all() for t in tensors.values()):
            raise PackageError("compose.bad_router", path=path)
        return cls(tensors["weight"], tensors["bias"])

    def over(self, adapters: int) -> "Correction":
        """The same for a set that others joined since, for which it adds nothing."""
        missing = adapters - len(self.bias)
        return Correction(functional.pad(self.weight, (0, 0, 0, missing)), functional.pad(self.bias, (0, missing)))

    def with_more(self, other: "Correction") -> "Correction":
        """Both together."""
        return Correction(self.weight + other.weight, self.bias + other.bias)

    def tensors(self) -> dict[str, Tensor]:
        """As they are written."""
        return {"weight": self.weight.contiguous(), "bias": self.bias.contiguous()}

    def of(self, projected: Tensor) -> Tensor:
        """For projected states (R, 128): (R, E)."""
        return functional.linear(projected, self.weight, self.bias)
