"""One factor per output channel (IA3, Liu et al. 2022)."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from tsugiki.adapt.form import Form


class Scale(Form):
    """`delta = y * s`: the site's output is multiplied by `1 + s`."""

    kind: Literal["scale"] = "scale"
    vectors: ClassVar[tuple[str, ...]] = ("scale",)

    def shapes(self, in_width: int, out_width: int) -> dict[str, tuple[int, ...]]:
        """`scale` (1, O)."""
        return {"scale": (1, out_width)}

    def init(self, in_width: int, out_width: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Zero."""
        return {"scale": torch.zeros(1, out_width)}

    def delta(self, params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        """`y * s`, (B, S, O)."""
        return y * params["scale"].to(y.dtype)
