"""What placements are chosen on: base, evidence, costs, budget."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tsugiki.adapt.adapted import Graft
from tsugiki.adapt.form import FORMS, Form
from tsugiki.adapt.reader import READERS
from tsugiki.base.anatomy import Anatomy
from tsugiki.placement.budget import Budget
from tsugiki.placement.costs import Costs, Predicted
from tsugiki.placement.evidence import RANKS, Evidence, Place
from tsugiki.placement.plan import Plan, head_states
from tsugiki.placement.prior import Prior


class Module(NamedTuple):
    """One that may be placed, and the loss that it may save."""

    place: Place
    form: Form
    gain: float

    @property
    def graft(self) -> Graft:
        """As it is attached."""
        return Graft(*self.place, self.form)


@dataclass(frozen=True)
class Ground:
    """What placements are chosen on.

    Args:
        anatomy: of the base.
        base_params: of the base.
        sites: of each layer that may be taken.
        form: `{kind, ...}` of every module; its rank is chosen where it has one.
        evidence: what speaks for them.
        costs: what they cost.
        budget: what may be spent.
        boundary: the only one that may be taken; None leaves it open.
        exit: likewise.
        prior: what earlier adapters on this base showed; None where there was none.
    """

    anatomy: Anatomy
    base_params: int
    sites: Mapping[int, Sequence[str]]
    form: Mapping[str, Any]
    evidence: Evidence
    costs: Costs
    budget: Budget
    boundary: int | None = None
    exit: int | None = None
    prior: Prior | None = None

    @property
    def unadapted_loss(self) -> float:
        """Loss of the best head without a module."""
        return min(self.evidence.exits)

    @property
    def forms(self) -> dict[int, Form]:
        """The form that every module may have, by rank; one alone where it has no rank."""
        if "rank" not in FORMS.load(str(self.form["kind"])).model_fields:
            return {RANKS[-1]: FORMS.parse(self.form)}
        return {rank: FORMS.parse({**self.form, "rank": rank}) for rank in RANKS}

    @property
    def agreement(self) -> float | None:
        """Rank correlation of the prior with the evidence; None without a prior."""
        return None if self.prior is None else self.prior.agreement(self.evidence.gains)

    def by_prior(self) -> "Ground":
        """The same by what earlier adapters showed, where these rows tell nothing."""
        assert self.prior is not None
        return replace(self, evidence=self.evidence.dealt(self.prior.shares))

    def blind(self) -> "Ground":
        """The same where evidence tells nothing: a suffix over the upper half, all sites alike."""
        exit = self.exit or self.anatomy.num_layers
        boundary = exit // 2 if self.boundary is None else self.boundary
        return replace(self, evidence=self.evidence.flat(), boundary=boundary, exit=exit)

    def modules(self, boundary: int, exit: int) -> Iterator[Module]:
        """All that may stand between boundary and exit, those of one site together, the smallest first."""
        forms = self.forms
        for layer in range(boundary, exit):
            for site in self.sites[layer]:
                for rank, form in forms.items():
                    yield Module((layer, site), form, self.evidence.gain((layer, site), rank))

    def plan(self, grafts: Sequence[Graft], exit: int, name: str) -> Plan:
        """Modules under an exit, as the race trains them; the name is that of how they were chosen."""
        boundary = min(graft.layer for graft in grafts)
        return Plan(f"{name} {boundary}/{exit}", head_states(exit), READERS.parse({"kind": "mean"}), tuple(grafts))

    def cost(self, plan: Plan) -> Predicted:
        """What a plan is expected to cost."""
        return self.costs.of(plan, self.anatomy)
