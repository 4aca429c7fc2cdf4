"""Every pair brings its own copy of the parameters, and two batched products do the rest."""

from typing import Literal

import torch
from torch import Tensor

from tsugiki.adapt.dispatch import Dispatch
from tsugiki.adapt.form import Form
from tsugiki.adapt.routing import Routing


class Gather(Dispatch):
    """Quickest where rows are sequences and hardly two of them have the same module."""

    kind: Literal["gather"] = "gather"

    def delta(self, form: Form, params: dict[str, Tensor], routing: Routing, x: Tensor, y: Tensor) -> Tensor:
        """As the contract says."""
        own = {name: stacked[routing.modules] for name, stacked in params.items()}
        delta = form.delta(own, x[routing.rows], y[routing.rows])
        return torch.zeros_like(y).index_add(0, routing.rows, delta * routing.weights.to(delta)[:, None, None])

    def added(self, form: Form, params: dict[str, Tensor], routing: Routing, x: Tensor, y: Tensor) -> Tensor:
        """Where each row has one module with weight 1, neither rows nor changes are copied."""
        by_row = routing.by_row
        if by_row is None:
            return super().added(form, params, routing, x, y)
        return form.added({name: stacked[by_row] for name, stacked in params.items()}, x, y)
