"""What is chosen: a knapsack for every boundary and exit, the front of what comes out, and one placement of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tsugiki.errors import ConfigError
from tsugiki.i18n import warn
from tsugiki.placement.costs import MILLION, Load, Predicted, num_params
from tsugiki.placement.ground import Ground
from tsugiki.placement.knapsack import best_modules
from tsugiki.placement.plan import Plan

# Of the loss that the best placement may save, what a cheaper one has to save to be chosen.
_ENOUGH = 0.8


@dataclass(frozen=True)
class Option:
    """A placement within the budget.

    Args:
        plan: as it would be trained.
        loss: that the evidence promises.
        cost: that the timings foretell.
    """

    plan: Plan
    loss: float
    cost: Predicted

    def beats(self, other: "Option") -> bool:
        """Whether it is nowhere worse, and somewhere better."""
        own, its = self._sides(), other._sides()
        return own != its and all(a <= b for a, b in zip(own, its, strict=True))

    def _sides(self) -> tuple[float, float, float]:
        return self.loss, self.cost.train_s, self.cost.latency_ms


@dataclass(frozen=True)
class Choice:
    """What came of choosing.

    Args:
        front: placements within the budget that no other beats, from the cheapest to train to the dearest.
        chosen: the cheapest of them that is promised most of what the best one is, or the fastest to answer with that
            is promised the score wanted; None where none is promised any.
    """

    front: tuple[Option, ...]
    chosen: Option | None

    @property
    def finalists(self) -> tuple[Option, ...]:
        """What is worth a trial: the chosen one, and the one that is promised most."""
        if self.chosen is None:
            return ()
        best = min(self.front, key=lambda option: option.loss)
        return (self.chosen,) if best is self.chosen else (self.chosen, best)


def choose(ground: Ground) -> Choice:
    """Choose a placement.

    Where the evidence does not tell sites apart, what earlier adapters on the base showed is gone by, or else the upper
    half of the layers is taken, as far as the budget allows.

    Raises:
        ConfigError: modules would help, but the budget has no room for any.
    """
    if not ground.evidence.is_reliable:
        ground = _unreliable(ground)
    options = list(_options(ground))
    if not options and any(map(any, ground.evidence.gains.values())):
        raise ConfigError("placement.unreachable", least=", ".join(_least(ground)))
    front = [option for option in options if not any(other.beats(option) for other in options)]
    front.sort(key=lambda option: option.cost.train_s)
    return Choice(tuple(front), _fastest(ground, front) or _cheapest(ground, front))


def _unreliable(ground: Ground) -> Ground:
    """What there is to go by where the rows do not tell sites apart."""
    told = {"reliability": ground.evidence.reliability}
    if ground.prior is None:
        warn("placement.unreliable", **told)
        return ground.blind()
    warn("placement.by_prior", **told, count=ground.prior.num_ablations, agreement=ground.agreement)
    return ground.by_prior()


def _cheapest(ground: Ground, front: Sequence[Option]) -> Option | None:
    """The cheapest to train that is promised most of what can be saved."""
    most = max((ground.unadapted_loss - option.loss for option in front), default=0.0)
    return next((option for option in front if ground.unadapted_loss - option.loss >= _ENOUGH * most), None)


def _fastest(ground: Ground, front: Sequence[Option]) -> Option | None:
    """The fastest to answer with that is promised the score wanted; None where none is wanted, or promised."""
    wanted = ground.budget.min_score
    if wanted is None or not front:
        return None
    promised = [ground.evidence.score_at(option.loss) for option in front]
    reaching = [option for option, score in zip(front, promised, strict=True) if score >= wanted]
    if not reaching:
        warn("placement.not_promised", wanted=100 * wanted, most=100 * max(promised))
        return None
    return min(reaching, key=lambda option: (option.cost.latency_ms, option.cost.train_s))


def _options(ground: Ground) -> Iterator[Option]:
    """The best placement for every boundary and exit that the budget has room for."""
    exits = range(1, ground.anatomy.num_layers + 1) if ground.exit is None else [ground.exit]
    for exit in exits:
        for boundary in range(exit) if ground.boundary is None else [ground.boundary]:
            if modules := best_modules(ground, boundary, exit):
                plan = ground.plan([module.graft for module in modules], exit, "evidence")
                promised = ground.evidence.exits[exit - 1] - sum(module.gain for module in modules)
                yield Option(plan, max(0.0, promised), ground.cost(plan))


def _least(ground: Ground) -> Iterator[str]:
    """What each limit would have to be at least, for one module by itself."""
    exits = range(1, ground.anatomy.num_layers + 1)
    smallest = min(
        num_params(ground.anatomy, module.place, module.form) for module in ground.modules(0, ground.anatomy.num_layers)
    )
    one = Load(1.0, 1.0, 1.0, smallest / MILLION)
    costs = [ground.costs.predicted(one, exit) for exit in exits]
    for field, _ in ground.budget.limits(costs[0].latency_ms, ground.base_params):
        yield f"{field} {min(getattr(cost, field) for cost in costs):.4g}"
