"""Tokens sorted by module, and products over the groups (MegaBlocks, Gale et al. 2022)."""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from tsugiki.adapt.dispatch import Dispatch
from tsugiki.adapt.form import Form
from tsugiki.adapt.routing import Routing


class Grouped(Dispatch):
    """Quickest where many modules share many tokens."""

    kind: Literal["grouped"] = "grouped"
    # `grouped_mm` takes rows of 16 bytes.
    multiple: ClassVar[int] = 8

    def delta(self, form: Form, params: dict[str, Tensor], routing: Routing, x: Tensor, y: Tensor) -> Tensor:
        """As the contract says."""
        length = y.shape[1]
        counts = torch.bincount(routing.modules, minlength=routing.num_modules)
        ends = (length * counts.cumsum(0)).int().to(y.device)
        of_token = routing.modules.repeat_interleave(length)
        own = {name: stacked[of_token, 0] if name in form.vectors else stacked for name, stacked in params.items()}

        def times(tokens: Tensor, stacked: Tensor) -> Tensor:
            return functional.grouped_mm(tokens.contiguous(), stacked, offs=ends)

        inner = form.inner(own, x[routing.rows].flatten(0, 1), y[routing.rows].flatten(0, 1), times)
        # Where it is narrow, which spares a pass over the width of the output.
        weights = routing.weights.to(inner).repeat_interleave(length)[:, None]
        delta = form.outer(own, inner * weights, times).unflatten(0, (-1, length))
        return torch.zeros_like(y).index_add(0, routing.rows, delta)
