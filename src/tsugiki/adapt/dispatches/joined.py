"""All modules side by side as one wide module, whose channels the weights let through (S-LoRA's padded product)."""

from typing import ClassVar, Literal

from torch import Tensor

from tsugiki.adapt.dispatch import Dispatch
from tsugiki.adapt.form import Form
from tsugiki.adapt.routing import Routing


class Joined(Dispatch):
    """Two products whatever the routing: quickest where the ranks of all modules together are small."""

    kind: Literal["joined"] = "joined"
    multiple: ClassVar[int] = 1

    def delta(self, form: Form, params: dict[str, Tensor], routing: Routing, x: Tensor, y: Tensor) -> Tensor:
        """As the contract says."""
        wide = form.joined(params)
        inner = form.inner(wide, x, y)
        ranks = inner.shape[-1] // routing.num_modules
        gates = routing.dense().to(inner).repeat_interleave(ranks, 1)
        return form.outer(wide, inner * gates[:, None])
