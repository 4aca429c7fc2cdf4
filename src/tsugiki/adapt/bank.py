"""All modules of one site."""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from tsugiki.adapt.dispatch import Dispatch
from tsugiki.adapt.form import Form
from tsugiki.adapt.routing import Routing
from tsugiki.adapt.sizes import is_narrow, suited
from tsugiki.adapt.stack import Stack
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
        self.parts = nn.ModuleDict()
        self._params: dict[str, dict[str, Tensor]] = {}
        self._by_form: list[Stack] | None = None
        self._numbers: dict[str, int] = {}
        self.dropout: float = 0.0
        self.generator: torch.Generator | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Adapter that owns each module, in the order of the module numbers."""
        return tuple(self.forms)

    def number(self, name: str) -> int | None:
        """Number of one adapter's module; None where it has none here."""
        return self._numbers.get(name)

    def put(self, name: str, form: Form, params: Mapping[str, Tensor]) -> None:
        """Add the module of one adapter, or exchange it."""
        self.forms[name] = form
        part = nn.ParameterDict({k: nn.Parameter(v) for k, v in params.items()})
        self.parts[_key(name)] = part
        # Looked up in every forward pass, where walking through a ParameterDict would cost as much as a small module.
        self._params[name] = dict(part.items())
        self._forget()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """As `nn.Module` moves and casts; between kinds of devices its parameters are other objects afterwards."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._params = {name: dict(self.part(name).items()) for name in self.forms}
        self._forget()
        return self

    def drop(self, name: str) -> None:
        """Take the module of one adapter away, where it has one."""
        if self.forms.pop(name, None) is not None:
            del self.parts[_key(name)]
            del self._params[name]
            self._forget()

    def part(self, name: str) -> nn.ParameterDict:
        """What holds the parameters of one adapter's module."""
        part = self.parts[_key(name)]
        assert isinstance(part, nn.ParameterDict)
        return part

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
            delta = delta * self._kept(delta.shape[0]).to(delta)[:, None, None]
        return delta

    def routed(self, routing: Routing, x: Tensor, y: Tensor, dispatch: Dispatch | None = None) -> Tensor:
        """`y` changed under a routing; see `Dispatch.added`.

        Args:
            routing: of the rows of `x` and `y`, over the modules of the bank.
            x: what the site reads, (R, S, I).
            y: what the site returns, (R, S, O).
            dispatch: None takes the quickest one for the sizes at hand.
        """
        if self.training and self.dropout:
            routing = routing.weighted(routing.weights * self._kept(len(routing.weights)).to(routing.weights))
        for stack in self._stacked():
            own = routing if len(stack.modules) == routing.num_modules else routing.among(stack.modules)
            if not own.is_null:
                y = (dispatch or suited(stack.form, own, x)).added(stack.form, stack.params, own, x, y)
        return y

    def weighed(self, numbers: Sequence[int | None], weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """`y` changed by modules that have a weight of their own on each token.

        Args:
            numbers: of the modules, (G,); None for one that is not here.
            weights: of each of them on each token, (B, S, G); zero where it does not act.
            x: what the site reads, (B, S, I).
            y: what the site returns, (B, S, O).
        """
        place = {number: at for at, number in enumerate(numbers) if number is not None}
        for stack in self._stacked():
            columns = [place.get(module, -1) for module in stack.modules]
            if max(columns) < 0:
                continue
            own = weights if columns == [*range(weights.shape[-1])] else weights[..., columns]
            if -1 in columns:
                own = own * own.new_tensor([column >= 0 for column in columns])
            if self.training and self.dropout:
                own = own * self._kept(own[..., 0].numel()).view(own.shape[:-1])[..., None].to(own)
            y = self._weighed(stack, own, x, y)
        return y

    def _weighed(self, stack: Stack, weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        if is_narrow(stack.form, len(stack.modules)):
            wide = stack.form.joined(stack.params)
            inner = stack.form.inner(wide, x, y)
            gates = weights.to(inner).repeat_interleave(stack.form.channels, -1)
            delta = stack.form.outer(wide, inner * gates)
            return y + delta if torch.is_grad_enabled() else y.add_(delta)
        routing, tokens = Routing.weighing(weights.flatten(0, 1)), x.reshape(-1, 1, x.shape[-1])
        if routing.is_null:
            return y
        changed = y.reshape(-1, 1, y.shape[-1])
        dispatch = suited(stack.form, routing, tokens)
        return dispatch.added(stack.form, stack.params, routing, tokens, changed).reshape(y.shape)

    def _kept(self, number: int) -> Tensor:
        # Whole modules, row by row: what is left must do without its neighbours, as in a leave-one-out audit.
        kept = torch.rand(number, generator=self.generator) >= self.dropout
        return kept / (1.0 - self.dropout)

    def _forget(self) -> None:
        self._by_form = None
        self._numbers = {name: at for at, name in enumerate(self.forms)}

    def _stacked(self) -> list[Stack]:
        """A stack for each form, in the order in which the forms came."""
        if self._by_form is None:
            by_form: dict[Form, list[str]] = {}
            for name, form in self.forms.items():
                by_form.setdefault(form, []).append(name)
            self._by_form = [
                Stack(form, [self._numbers[name] for name in names], [dict(self.part(name).items()) for name in names])
                for form, names in by_form.items()
            ]
        return self._by_form


def _key(name: str) -> str:
    """A key of ModuleDict, which refuses dots and its own methods' names; no two adapters have the same."""
    return "of " + name.replace("%", "%25").replace(".", "%2E")
