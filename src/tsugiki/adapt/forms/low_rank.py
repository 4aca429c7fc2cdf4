"""Low-rank change of a projection (LoRA, Hu et al. 2021), scaled for its rank (rsLoRA, Kalajdzievski 2023)."""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from tsugiki.adapt.form import Form, Product, uniform


class LowRank(Form):
    """`delta = alpha / sqrt(rank) * x A B`.

    Args:
        rank: r, width of the bottleneck.
        alpha: strength of the change; `alpha / sqrt(rank)` keeps it alike over ranks.
    """

    kind: Literal["low_rank"] = "low_rank"
    rank: PositiveInt = 8
    alpha: float = Field(default=8.0, gt=0)
    is_linear: ClassVar[bool] = True

    @property
    def channels(self) -> int:
        """R."""
        return self.rank

    def shapes(self, in_width: int, out_width: int) -> dict[str, tuple[int, ...]]:
        """`down` (I, r) and `up` (r, O)."""
        return {"down": (in_width, self.rank), "up": (self.rank, out_width)}

    def init(self, in_width: int, out_width: int, generator: torch.Generator) -> dict[str, Tensor]:
        """`down` random, `up` zero."""
        down = uniform((in_width, self.rank), in_width, generator)
        return {"down": down, "up": torch.zeros(self.rank, out_width)}

    def delta(self, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """`alpha / sqrt(rank) * x A B`, (B, S, O)."""
        return self.outer(params, self.inner(params, x, y))

    def inner(self, params: dict[str, Tensor], x: Tensor, y: Tensor, times: Product = torch.matmul) -> Tensor:
        """`alpha / sqrt(rank) * x A`."""
        # Scaled where it is narrow, which spares a pass over the width of the output.
        return times(x, params["down"].to(x.dtype)) * (self.alpha / math.sqrt(self.rank))

    def outer(self, params: dict[str, Tensor], inner: Tensor, times: Product = torch.matmul) -> Tensor:
        """Those channels times `B`."""
        return times(inner, params["up"].to(inner.dtype))

    def joined(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Columns of `down` and rows of `up` side by side."""
        return {"down": params["down"].transpose(0, 1).flatten(1), "up": params["up"].flatten(0, 1)}

    def added(self, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """As `Form.added`, the second product straight into `y`."""
        if torch.is_grad_enabled() or not y.is_contiguous():
            return super().added(params, x, y)
        inner, up = self.inner(params, x, y), params["up"].to(x.dtype)
        if up.dim() == 3:
            return y.baddbmm_(inner, up)
        y.view(-1, y.shape[-1]).addmm_(inner.reshape(-1, inner.shape[-1]), up)
        return y
