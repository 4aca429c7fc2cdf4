"""Who may have made an answer: the modules of an adapter, or of a group of one, in one layer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tsugiki.adapt.adapted import Graft
from tsugiki.adapt.gates import POOLED
from tsugiki.adapt.gating import Gating
from tsugiki.adapt.package import Package
from tsugiki.i18n import text


@dataclass(frozen=True)
class Seat:
    """One player.

    Args:
        name: of the adapter or the group.
        layer: where the modules stand.
        weight: that they act with, in the mean over the tokens.
        grafts: the modules.
        params: their tensors, by `LAYER.SITE.PARAMETER`; others may be among them.
        by_token: weight on each token at each site, `LAYER.SITE`, (S,); empty where it is the same on all.
        always: whether they act before those of groups, which read what they return.
    """

    name: str
    layer: int
    weight: float
    grafts: tuple[Graft, ...]
    params: Mapping[str, Tensor]
    by_token: Mapping[str, Tensor] = field(default_factory=dict)
    always: bool = False


def seats_of(acting: Mapping[int, float], packages: Sequence[Package], names: Sequence[str]) -> list[Seat]:
    """Players of a route over packages, by layer and then in their order."""
    found = [seat for n in acting for seat in _layers(names[n], packages[n].grafts, packages[n].part("modules"))]
    weights = {names[number]: weight for number, weight in acting.items()}
    order = {names[number]: number for number in acting}
    seats = (Seat(name, layer, weights[name], grafts, params) for name, layer, grafts, params in found)
    return sorted(seats, key=lambda seat: (seat.layer, order[seat.name]))


def seats_under(package: Package, name: str, gating: Gating) -> list[Seat]:
    """Players of one input of a package with groups: modules that always act, and groups that did."""
    own = _layers(name, package.grafts, package.part("modules"))
    found = [Seat(called, layer, 1.0, grafts, tensors, always=True) for called, layer, grafts, tensors in own]
    for number, group in enumerate(package.groups):
        called = group_name(package, number)
        params = package.part(f"groups.{number}")
        for _, layer, grafts, tensors in _layers(called, group.grafts, params):
            found += _acting(Seat(called, layer, 1.0, grafts, tensors), number, gating)
    return sorted(found, key=lambda seat: seat.layer)


def group_name(package: Package, number: int) -> str:
    """What a group is called: its domain, or its number among those that have none."""
    group, named = package.groups[number], sum(group.domain is not None for group in package.groups)
    called = group.domain or text("report.explain_group", number=number - named + 1)
    # A company may well be called as its adapter is.
    return f"{called} ({number + 1})" if called == package.manifest.name else called


def _layers(
    name: str, grafts: Sequence[Graft], params: Mapping[str, Tensor]
) -> Iterator[tuple[str, int, tuple[Graft, ...], Mapping[str, Tensor]]]:
    for layer in sorted({graft.layer for graft in grafts}):
        yield name, layer, tuple(graft for graft in grafts if graft.layer == layer), params


def _acting(seat: Seat, number: int, gating: Gating) -> Iterator[Seat]:
    """The seat of a group with the weights that it had; none where it did not act."""
    whole = gating.decisions.get(POOLED)
    if whole is not None and number < whole.weights.shape[1]:
        weight = float(whole.weights[0, number])
        if weight:
            yield Seat(seat.name, seat.layer, weight, seat.grafts, seat.params)
        return
    sites = {key: gating.decisions[key] for key in (f"{g.layer}.{g.site}" for g in seat.grafts)}
    by_token = {
        key: decision.weights[decision.rows >= 0, number - gating.gates.num_named] for key, decision in sites.items()
    }
    mean = float(torch.stack(list(by_token.values())).mean())
    if mean:
        yield Seat(seat.name, seat.layer, mean, seat.grafts, seat.params, by_token)
