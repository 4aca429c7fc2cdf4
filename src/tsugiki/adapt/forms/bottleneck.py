"""A small network on what a site returns (adapter layers, Houlsby et al. 2019)."""

from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor
from torch.nn import functional

from tsugiki.adapt.form import Form, Product, uniform


class Bottleneck(Form):
    """`delta = gelu(y A + a) B`; stands best on the residual stream.

    Args:
        rank: r, width of the bottleneck.
    """

    kind: Literal["bottleneck"] = "bottleneck"
    rank: PositiveInt = 32
    vectors: ClassVar[tuple[str, ...]] = ("bias",)

    @property
    def channels(self) -> int:
        """R."""
        return self.rank

    def shapes(self, in_width: int, out_width: int) -> dict[str, tuple[int, ...]]:
        """`down` (O, r), `bias` (1, r), `up` (r, O)."""
        return {"down": (out_width, self.rank), "bias": (1, self.rank), "up": (self.rank, out_width)}

    def init(self, in_width: int, out_width: int, generator: torch.Generator) -> dict[str, Tensor]:
        """`down` random, `bias` and `up` zero."""
        down = uniform((out_width, self.rank), out_width, generator)
        return {"down": down, "bias": torch.zeros(1, self.rank), "up": torch.zeros(self.rank, out_width)}

    def delta(self, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """`gelu(y A + a) B`, (B, S, O)."""
        return self.outer(params, self.inner(params, x, y))

    def inner(self, params: dict[str, Tensor], x: Tensor, y: Tensor, times: Product = torch.matmul) -> Tensor:
        """`gelu(y A + a)`."""
        return functional.gelu(times(y, params["down"].to(y.dtype)) + params["bias"].to(y.dtype))

    def outer(self, params: dict[str, Tensor], inner: Tensor, times: Product = torch.matmul) -> Tensor:
        """Those channels times `B`."""
        return times(inner, params["up"].to(inner.dtype))

    def joined(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Columns of `down` and `bias` and rows of `up` side by side."""
        wide = {name: params[name].transpose(0, 1).flatten(1) for name in ("down", "bias")}
        return {**wide, "up": params["up"].flatten(0, 1)}
