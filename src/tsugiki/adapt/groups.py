"""Groups of modules on a base, beside modules that always act; which groups act is decided by gates."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.gates import POOLED, Gates
from tsugiki.adapt.gating import Gating
from tsugiki.adapt.reader import mean_pool
from tsugiki.adapt.router import Router
from tsugiki.base.suffix import run_states


@dataclass(frozen=True)
class Group:
    """Modules that act together.

    Args:
        domain: that they are for; None where they find their inputs by themselves.
        grafts: the modules.
    """

    domain: str | None
    grafts: tuple[Graft, ...]


class Groups:
    """Groups that are attached.

    Args:
        adapted: the base.
        always: adapter that is attached there and acts on every row.
        groups: those of domains first.
        gates: which decide.
        router: the rule by which they do.
        boundary: first adapted layer.
        params: trained tensors by `NUMBER.LAYER.SITE.PARAMETER`; None for fresh ones.
        seed: of fresh ones.
    """

    def __init__(
        self,
        adapted: AdaptedModel,
        always: str,
        groups: Sequence[Group],
        gates: Gates,
        router: Router,
        boundary: int,
        params: Mapping[str, Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        self.gates = gates
        self.router = router
        self.domains = tuple(group.domain for group in groups if group.domain is not None)
        self.boundary = boundary
        self.names = tuple(f"{always}/{number}" for number in range(len(groups)))
        self._adapted, self._always = adapted, always
        for number, (name, group) in enumerate(zip(self.names, groups, strict=True)):
            start = f"{number}."
            own = None if params is None else {k[len(start) :]: t for k, t in params.items() if k.startswith(start)}
            # Each from a draw of its own: modules that start alike would learn alike.
            adapted.attach(name, group.grafts, own, seed=seed + 1 + number)

    def tensors(self) -> dict[str, Tensor]:
        """Parameters of all groups by `NUMBER.LAYER.SITE.PARAMETER`."""
        return {
            f"{number}.{key}": tensor
            for number, name in enumerate(self.names)
            for key, tensor in self._adapted.tensors(name).items()
        }

    def gating(self, mask: Tensor, pooled: Tensor | None = None, domains: Tensor | None = None) -> Gating:
        """The route of one pass; see `Gating`."""
        return Gating(self._always, self.names, self.gates, self.router, mask, pooled, domains)

    def run(
        self, ids: Tensor, mask: Tensor, keep: Collection[int], domains: Tensor | None = None
    ) -> tuple[dict[int, Tensor], Gating]:
        """States of token ids (B, S) with mask (B, S), and what was decided on the way.

        Where a gate decides for whole inputs it reads the clean state at the boundary; the layers above run once, under
        its decision.

        Args:
            ids: token ids.
            mask: 1 for tokens.
            keep: states to return.
            domains: of each row, -1 for none of them, (B,); None where the gates have to find out.
        """
        model, anatomy = self._adapted.model, self._adapted.anatomy
        seen = None if bool(mask.all()) else mask
        found: dict[int, Tensor] = {}
        entering, gating = None, self.gating(mask, None, domains)
        if POOLED in self.gates.keys:
            found = run_states(model, anatomy, ids, seen, {s for s in keep if s <= self.boundary} | {self.boundary})
            entering = found[self.boundary]
            gating.pooled = mean_pool(entering, mask)
        if above := set(keep) - found.keys():
            start = 0 if entering is None else self.boundary
            with self._adapted.using(gating):
                found |= run_states(model, anatomy, ids, seen, above, boundary=start, state=entering if start else None)
        return {s: found[s] for s in keep}, gating

    def close(self) -> None:
        """Take the groups off the base."""
        for name in self.names:
            self._adapted.remove(name)
