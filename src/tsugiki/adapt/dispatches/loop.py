"""One module after the other: the specification."""

from typing import Literal

import torch
from torch import Tensor

from tsugiki.adapt.dispatch import Dispatch
from tsugiki.adapt.form import Form
from tsugiki.adapt.routing import Routing


class Loop(Dispatch):
    """Every module gathers its rows, changes them and adds the change; quickest where few modules have many rows."""

    kind: Literal["loop"] = "loop"

    def delta(self, form: Form, params: dict[str, Tensor], routing: Routing, x: Tensor, y: Tensor) -> Tensor:
        """As the contract says."""
        total = torch.zeros_like(y)
        for module, rows, weights in routing.groups():
            own = {name: stacked[module] for name, stacked in params.items()}
            delta = form.delta(own, x[rows], y[rows])
            total = total.index_add(0, rows, delta * weights.to(delta)[:, None, None])
        return total
