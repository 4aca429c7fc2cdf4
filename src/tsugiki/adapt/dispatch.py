"""The contract of a dispatch: how the modules of one form at one site are applied to the rows that a routing names."""

from typing import ClassVar

import torch
from torch import Tensor

from tsugiki.adapt.form import Form
from tsugiki.adapt.routing import Routing
from tsugiki.family import Family
from tsugiki.spec import Spec


class Dispatch(Spec):
    """A way to compute what `loop` specifies.

    Rows are whole sequences, or tokens as sequences of one.
    """

    kind: str
    # What r of a form has to be a multiple of; 0 takes all forms, and not the narrow ones alone.
    multiple: ClassVar[int] = 0

    def takes(self, form: Form) -> bool:
        """Whether it can apply modules of this form."""
        return not self.multiple or (form.channels > 0 and form.channels % self.multiple == 0)

    def delta(self, form: Form, params: dict[str, Tensor], routing: Routing, x: Tensor, y: Tensor) -> Tensor:
        """The sum over a row's modules of what each adds, times its weight.

        Args:
            form: of all modules.
            params: of all modules, (E, ...).
            routing: pairs of rows and modules.
            x: what the site reads, (R, S, I).
            y: what the site returns, (R, S, O).

        Returns:
            The change of `y`, (R, S, O); zero for rows without a module.
        """
        raise NotImplementedError(type(self).__name__)

    def added(self, form: Form, params: dict[str, Tensor], routing: Routing, x: Tensor, y: Tensor) -> Tensor:
        """`y` with the change; where no gradient is kept that is `y` itself."""
        delta = self.delta(form, params, routing, x, y)
        return y + delta if torch.is_grad_enabled() else y.add_(delta)


DISPATCHES: Family[Dispatch] = Family("tsugiki.adapt.dispatches", Dispatch)
