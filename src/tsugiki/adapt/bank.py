"""All modules of one site."""

from collections.abc import Callable, Mapping
from typing import Self

import torch
from torch import Tensor, nn

from tsugiki.adapt.form import Form
from tsugiki.adapt.routing import Routing
from tsugiki.base.anatomy import Site


class Bank(nn.Module):
    """The modules that stand at one site, one for each adapter that has one there.

    Args:
        site: where the bank stands.
    """

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site
        self.forms: dict[str, Form] = {}
        self.stacks = nn.ModuleDict()
        self._params: dict[str, dict[str, Tensor]] = {}
        self.dropout: float = 0.0
        self.generator: torch.Generator | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Adapter that owns each module, in the order of the module numbers."""
        return tuple(self.forms)

    def put(self, name: str, form: Form, params: Mapping[str, Tensor]) -> None:
        """Add the module of one adapter, or exchange it."""
        self.forms[name] = form
        stack = nn.ParameterDict({k: nn.Parameter(v) for k, v in params.items()})
        self.stacks[_key(name)] = stack
        # Looked up in every forward pass, where walking through a ParameterDict would cost as much as a small module.
        self._params[name] = dict(stack.items())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """As `nn.Module` moves and casts; between kinds of devices its parameters are other objects afterwards."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._params = {name: dict(self.stack(name).items()) for name in self.forms}
        return self

    def drop(self, name: str) -> None:
        """Take the module of one adapter away, where it has one."""
        if self.forms.pop(name, None) is not None:
            del self.stacks[_key(name)]
            del self._params[name]

    def stack(self, name: str) -> nn.ParameterDict:
        """What holds the parameters of one adapter's module."""
        stack = self.stacks[_key(name)]
        assert isinstance(stack, nn.ParameterDict)
        return stack

    def params(self, name: str) -> dict[str, Tensor]:
        """Parameters of one adapter's module."""
        return self._params[name]

    def added(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """`y` changed by one adapter on every row; see `Form.added`."""
        if self.training and self.dropout:
            return y + self.everywhere(name, x, y)
        return self.forms[name].added(self.params(name), x, y)

    def everywhere(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """The change when one adapter acts on every row: (B, S, I) and (B, S, O) to (B, S, O)."""
        delta = self.forms[name].delta(self.params(name), x, y)
        if self.training and self.dropout:
            # Whole modules, row by row: what is left must do without its neighbours, as in a leave-one-out audit.
            kept = torch.rand(delta.shape[0], 1, 1, generator=self.generator) >= self.dropout
            delta = delta * (kept / (1.0 - self.dropout)).to(delta)
        return delta

    def routed(self, routing: Routing, x: Tensor, y: Tensor) -> Tensor:
        """The change under a routing whose rows are the sequences of the batch.

        One module after the other: the specification that any quicker dispatch has to equal.
        """
        total = torch.zeros_like(y)
        for module, rows, weights in routing.groups():
            delta = self.everywhere(self.names[module], x[rows], y[rows])
            total = total.index_add(0, rows.to(y.device), delta * weights.to(delta)[:, None, None])
        return total


def _key(name: str) -> str:
    """A key of ModuleDict, which refuses dots and its own methods' names; no two adapters have the same."""
    return "of " + name.replace("%", "%25").replace(".", "%2E")
