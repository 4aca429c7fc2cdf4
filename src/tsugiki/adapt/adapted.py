"""A base with adapters attached by hooks: it is never edited, and detaching restores it exactly."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tsugiki.adapt.bank import Bank
from tsugiki.adapt.form import Form
from tsugiki.adapt.gating import Deciding
from tsugiki.adapt.routing import Choice, Routing
from tsugiki.base.anatomy import RESIDUAL, Anatomy
from tsugiki.base.suffix import layers_of, trunk
from tsugiki.errors import RoutingError

Route = str | tuple[Choice, ...] | Deciding | None
Asked = str | Sequence[str | Mapping[str, float] | None] | Deciding | None
"""An adapter; for each row one, several by their weights, or None for the base alone; what decides by site; or None."""


@dataclass(frozen=True)
class Graft:
    """One module of an adapter: its form and the site where it stands."""

    layer: int
    site: str
    form: Form


@dataclass
class _Context:
    """The route of the forward pass that is running; owned by one adapted model, never global."""

    chosen: Route = None
    depth: int = 0
    running: Route = None
    replayed: list[Route] = field(default_factory=list)

    def route(self) -> Route:
        if self.replayed:
            return self.replayed[-1]
        if torch._C._current_graph_task_id() != -1:
            # Inside `backward()` somebody reruns a forward pass whose route we did not keep; it may have changed since.
            raise RoutingError("routing.recompute")
        return self.running if self.depth else self.chosen

    def begin(self) -> None:
        if self.depth == 0:
            self.running = self.chosen
        self.depth += 1

    def end(self) -> None:
        # Not below zero: torch also calls this where another hook has failed before `begin`.
        self.depth = max(0, self.depth - 1)


class AdaptedModel:
    """A model with named adapters, of which one acts on a batch, or some on each row.

    Args:
        model: the base.
        anatomy: of the base.
    """

    def __init__(self, model: nn.Module, anatomy: Anatomy) -> None:
        self.model = model
        self.anatomy = anatomy
        self.banks: dict[tuple[int, str], Bank] = {}
        self._grafts: dict[str, list[Graft]] = {}
        self._context = _Context()
        self._routings: dict[tuple[Route, tuple[str, ...], torch.device], Routing] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    @property
    def names(self) -> list[str]:
        """Adapters that are attached."""
        return list(self._grafts)

    def attach(
        self, name: str, grafts: Sequence[Graft], params: Mapping[str, Tensor] | None = None, seed: int = 0
    ) -> None:
        """Attach an adapter.

        Args:
            name: what `using` calls it.
            grafts: its modules.
            params: trained tensors by `LAYER.SITE.PARAMETER`, which are copied; fresh ones where None.
            seed: of fresh tensors.

        Raises:
            RoutingError: the name is taken, or two modules stand at one site.
            BaseModelError: a site does not exist.
        """
        if name in self._grafts:
            raise RoutingError("routing.name_taken", name=name)
        # In the order of the layers, so that an adapter's tensors do not depend on the order of its list.
        ordered = sorted(grafts, key=lambda graft: (graft.layer, graft.site))
        for below, above in pairwise(ordered):
            if (below.layer, below.site) == (above.layer, above.site):
                raise RoutingError("routing.twice", name=name, site=f"layers.{above.layer}.{above.site}")
        tensors = self._tensors_for(ordered, params, seed)
        if not self._hooks:
            self._watch_forward()
        for graft, own in zip(ordered, tensors, strict=True):
            self._bank(graft.layer, graft.site).put(name, graft.form, own)
        self._grafts[name] = list(grafts)

    def _tensors_for(
        self, grafts: Sequence[Graft], params: Mapping[str, Tensor] | None, seed: int
    ) -> list[dict[str, Tensor]]:
        device = next(self.model.parameters()).device
        generator = torch.Generator().manual_seed(seed)
        found = []
        for graft in grafts:
            site = self.anatomy.site(graft.layer, graft.site)
            own = graft.form.init(site.in_width, site.out_width, generator)
            if params is not None:
                own = {key: params[f"{graft.layer}.{graft.site}.{key}"] for key in own}
            found.append({key: t.detach().to(device, torch.float32, copy=True) for key, t in own.items()})
        return found

    def remove(self, name: str) -> None:
        """Take one adapter away.

        Raises:
            RoutingError: it is not attached, or the route in force names it: other answers would come without a word.
        """
        self._known(name)
        if name in _named(self._context.chosen):
            raise RoutingError("routing.in_use", name=name)
        del self._grafts[name]
        for bank in self.banks.values():
            bank.drop(name)

    def detach(self) -> nn.Module:
        """Take all adapters and hooks away and give the base back as it was."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self.banks.clear()
        self._grafts.clear()
        self._context = _Context()
        return self.model

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Parameters of one adapter by `LAYER.SITE.PARAMETER`."""
        self._known(name)
        return {
            f"{layer}.{site}.{key}": tensor
            for (layer, site), bank in sorted(self.banks.items())
            if name in bank.names
            for key, tensor in bank.params(name).items()
        }

    def use(self, names: Asked) -> None:
        """The same as `using`, from here on."""
        route: Route = names if names is None or isinstance(names, str | Deciding) else tuple(map(_frozen, names))
        for name in _named(route):
            self._known(name)
        self._context.chosen = route

    @contextmanager
    def using(self, names: Asked) -> Iterator[nn.Module]:
        """Within the block one adapter acts on every row, or each row has its own.

        Args:
            names: an adapter; one for each row of the batches that follow, or several by their weights, None for the
                base alone; what decides for the one batch that follows; or None.

        Raises:
            RoutingError: an adapter is not attached, or a weight is not a number.
        """
        before = self._context.chosen
        self.use(names)
        try:
            yield self.model
        finally:
            self._context.chosen = before

    def _known(self, name: str) -> None:
        if name not in self._grafts:
            raise RoutingError("routing.unknown", name=name, allowed=", ".join(self._grafts) or "-")

    def _bank(self, layer: int, site_name: str) -> Bank:
        if (layer, site_name) not in self.banks:
            site = self.anatomy.site(layer, site_name)
            bank = Bank(site).eval()
            target = layers_of(self.model, self.anatomy)[layer].get_submodule(site.path)
            self._hooks.append(target.register_forward_hook(self._acting(layer, bank), with_kwargs=True))
            self.banks[layer, site_name] = bank
        return self.banks[layer, site_name]

    def _acting(self, layer: int, bank: Bank) -> Callable[..., Any]:
        site = bank.site
        key = f"{layer}.{site.name}"

        def act(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            route = self._context.route()
            if route is None or (isinstance(route, str) and route not in bank.forms):
                return None
            whole = output if isinstance(output, Tensor) else output[0]
            x = args[0] if args else next(iter(kwargs.values()))
            y = whole[..., site.start : site.start + site.out_width] if site.fused else whole
            if isinstance(route, str):
                changed = bank.added(route, x, y)
            elif isinstance(route, Deciding):
                changed = route.changed(key, bank, x, y)
            else:
                routing = self._routing(route, bank.names, y)
                if routing.is_null:
                    return None
                changed = bank.routed(routing, x, y)
            if site.fused and changed is not y:
                after = whole[..., site.start + site.out_width :]
                changed = torch.cat([whole[..., : site.start], changed, after], -1)
            elif site.fused:
                changed = whole
            return changed if isinstance(output, Tensor) else (changed, *output[1:])

        return act

    def _routing(self, route: tuple[Choice, ...], names: tuple[str, ...], y: Tensor) -> Routing:
        """The routing over the modules of one bank; banks with the same adapters share it."""
        if len(route) != y.shape[0]:
            raise RoutingError("routing.rows", found=len(route), allowed=y.shape[0])
        key = (route, names, y.device)
        if key not in self._routings:
            if any(known != route for known, *_ in self._routings):
                self._routings.clear()
            self._routings[key] = Routing.named(route, names).to(y.device)
        return self._routings[key]

    def _watch_forward(self) -> None:
        _let_compilers_see_hooks()
        context, root = self._context, trunk(self.model)
        self._hooks.append(root.register_forward_pre_hook(lambda *_: context.begin()))
        self._hooks.append(root.register_forward_hook(lambda *_: context.end(), always_call=True))
        for layer in layers_of(self.model, self.anatomy):
            if hasattr(layer, "gradient_checkpointing"):
                self._hooks.extend(_bind_checkpoint(layer, context))


def _let_compilers_see_hooks() -> None:
    """Have `torch.compile` tell a module with hooks from one without.

    By default it does not look, and runs the code that it compiled for the one for the other: modules then do nothing,
    without a word. What was compiled by then is forgotten.
    """
    # Models bring it along; whoever only reads a package need not wait for it.
    import torch._dynamo.config

    if not torch._dynamo.config.skip_nnmodule_hook_guards:
        return
    torch._dynamo.config.skip_nnmodule_hook_guards = False
    torch._dynamo.reset()


def _named(route: Route) -> set[str]:
    """Adapters that a route names."""
    if isinstance(route, Deciding):
        return route.names
    choices = {route} if isinstance(route, str) else set(route or ())
    return {name for choice in choices for name in ([choice] if isinstance(choice, str) else dict(choice or ()))}


def _frozen(choice: str | Mapping[str, float] | None) -> Choice:
    if choice is None or isinstance(choice, str):
        return choice
    for name, weight in choice.items():
        if not math.isfinite(weight):
            raise RoutingError("routing.weight", name=name, found=weight)
    return tuple(choice.items())


def _bind_checkpoint(layer: Any, context: _Context) -> list[torch.utils.hooks.RemovableHandle]:
    """Let a layer that is recomputed in `backward()` run under the route of its own forward pass.

    Without this a route that changed in between gives wrong gradients, silently.
    """
    own: list[Any] = []

    def begin(_: nn.Module, __: Any) -> None:
        if layer.gradient_checkpointing:
            own.append(layer._gradient_checkpointing_func)
            layer._gradient_checkpointing_func = _replaying(own[-1], context)

    def end(_: nn.Module, __: Any, ___: Any) -> None:
        if own:
            layer._gradient_checkpointing_func = own.pop()

    # Before the hooks that are there already: where two adapted models share a base, the last to begin ends first.
    after = layer.register_forward_hook(end, prepend=True, always_call=True)
    return [layer.register_forward_pre_hook(begin), after]


def _replaying(checkpoint: Callable[..., Any], context: _Context) -> Callable[..., Any]:
    def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        route = context.route()

        def bound(*inner: Any, **named: Any) -> Any:
            context.replayed.append(route)
            try:
                return function(*inner, **named)
            finally:
                context.replayed.pop()

        return checkpoint(bound, *args, **kwargs)

    return run


__all__ = ["RESIDUAL", "AdaptedModel", "Graft", "Route"]
