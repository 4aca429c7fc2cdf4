"""How the modules of a plan get groups beside them, and how well rows then find theirs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.classifier import Classifier
from tsugiki.adapt.form import FORMS
from tsugiki.adapt.gates import POOLED, Gates, gate_shapes
from tsugiki.adapt.groups import Group
from tsugiki.adapt.package_checks import facts_of
from tsugiki.adapt.router import ROUTERS
from tsugiki.base.model import Base
from tsugiki.manifest import GroupFacts, RoutingFacts
from tsugiki.train.config import RoutingSettings
from tsugiki.train.domains import known_by
from tsugiki.train.grouped import GroupedScion, spread
from tsugiki.train.loop import Labelled, scores
from tsugiki.train.loss import LOSSES


@dataclass(frozen=True)
class Setup:
    """How the modules of a plan get groups beside them.

    Args:
        base: the base.
        settings: of groups, gates and losses.
        domains: that have a group each.
    """

    base: Base
    settings: RoutingSettings
    domains: tuple[str, ...]

    def groups(self, grafts: Sequence[Graft]) -> list[Group]:
        """Those of domains, then those of none, at the sites of modules that always act."""
        form = FORMS.parse(self.settings.form)
        own = tuple(Graft(graft.layer, graft.site, form) for graft in grafts)
        return [Group(domain, own) for domain in (*self.domains, *[None] * self.settings.anonymous)]

    def scion(
        self,
        adapted: AdaptedModel,
        grafts: Sequence[Graft],
        classifier: Classifier,
        train: Labelled,
        held: Labelled,
        seed: int,
    ) -> GroupedScion:
        """What is trained; the gate of domains knows them from the start."""
        assert train.domains is not None and held.domains is not None
        number, groups, learnt = len(self.domains), self.groups(grafts), train.domains
        sites = {f"{g.layer}.{g.site}": self.base.anatomy.site(g.layer, g.site).in_width for g in grafts}
        shapes = gate_shapes(self.settings.route_by, number, len(groups), self.base.width, sites)
        gates = Gates.fresh(number, shapes, seed)
        if number:
            boundary = min(graft.layer for graft in grafts)
            pooled, asked = (rows.rows.pooled[:, boundary] for rows in (train, held))
            known = known_by(pooled, train.domains, asked, held.domains, self.domains)
            gates.tell({"weight": known.weight, "bias": known.bias})
            learnt = known.foretold
        router = ROUTERS.parse(self.settings.router)
        losses = [LOSSES.parse(loss) for loss in self.settings.losses]
        return GroupedScion(adapted, grafts, classifier, seed, groups, gates, router, losses, learnt)

    def facts(self, grafts: Sequence[Graft], found: Mapping[str, float]) -> RoutingFacts:
        """As a manifest keeps it, with how well rows found their groups."""
        return RoutingFacts(
            route_by=self.settings.route_by,
            router=ROUTERS.parse(self.settings.router).model_dump(mode="json"),
            groups=tuple(
                GroupFacts(domain=group.domain, modules=tuple(map(facts_of, group.grafts)))
                for group in self.groups(grafts)
            ),
            metrics={name: round(value, 4) for name, value in found.items()},
        )


def require_sound(settings: RoutingSettings) -> None:
    """See that what settings name is there.

    Raises:
        ConfigError: there is no such router, form or loss, or not with these fields.
    """
    ROUTERS.parse(settings.router)
    FORMS.parse(settings.form)
    for loss in settings.losses:
        LOSSES.parse(loss)


def found_by_gates(scion: GroupedScion, held: Labelled, score: float) -> dict[str, float]:
    """How well held-out rows find their groups, beside what they would score where domains are given."""
    found, number = {"score": score}, scion.gates.num_named
    asked = held.task.match(held.task.choose(scores(scion, held.rows)), held.targets)
    if open_ := scion.decided(spread(held.rows)):
        pairs = [float(seen.others.numel()) for seen in open_]
        found["active"] = sum(seen.active() * number for seen, number in zip(open_, pairs, strict=True)) / sum(pairs)
    if number:
        scion.given = held.domains
        given = held.task.match(held.task.choose(scores(scion, held.rows)), held.targets)
        scion.given = None
        found |= {"named_score": float(given.mean()), "lost": float((given > asked).float().mean())}
        assert held.domains is not None
        device = next(scion.gates.parameters()).device
        told = scion.gates.scores(POOLED, held.rows.pooled[:, scion.boundary].to(device))[:, :number].cpu()
        best, known = told.max(1), held.domains >= 0
        right = (best.indices == held.domains)[known & (best.values > 0)]
        found["named_rightly"] = float(right.float().mean())
        found["to_no_domain"] = float((best.values <= 0).float().mean())
    return {name: value for name, value in found.items() if math.isfinite(value)}
