"""The plans of a run: given, continued, or chosen on the ground and then kept for when a killed run goes on."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list

from tsugiki.errors import ConfigError
from tsugiki.home import write_atomically
from tsugiki.i18n import warn
from tsugiki.placement.budget import Budget
from tsugiki.placement.costs import Predicted
from tsugiki.placement.plan import STRATEGIES, Informed, Plan, Strategy, plan_of
from tsugiki.train.config import Config
from tsugiki.train.continued import continued
from tsugiki.train.grouping import require_sound
from tsugiki.train.prepare import Prepared
from tsugiki.train.survey import survey

_PLANS = "plans.json"


@dataclass(frozen=True)
class Lineup:
    """What a race starts with.

    Args:
        plans: cheapest first.
        seconds: that it took to choose them.
        costs: foretold of plans that were chosen, by variant.
    """

    plans: list[Plan]
    seconds: float = 0.0
    costs: Mapping[str, Predicted] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """As plain data."""
        costs = {variant: cost.model_dump(mode="json") for variant, cost in self.costs.items()}
        return {"plans": [plan.facts() for plan in self.plans], "seconds": self.seconds, "costs": costs}


def strategy_of(config: Config) -> Strategy:
    """The strategy that settings name.

    Raises:
        ConfigError: there is none of that name, or it takes no notice of a budget that is set.
    """
    placement = config.placement.model_dump(mode="json", exclude={"prior"})
    strategy = STRATEGIES.parse({"kind": placement.pop("strategy"), **placement})
    # What is enough says nothing of where modules stand.
    limits = config.budget.model_copy(update={"min_score": None})
    if limits != Budget() and not isinstance(strategy, Informed):
        raise ConfigError("placement.blind", strategy=strategy.kind)
    return strategy


def lineup_of(ready: Prepared, folder: Path) -> Lineup:
    """What is to be trained beside the head.

    Args:
        ready: what the run begins with.
        folder: of the run.
    """
    found = _ungrouped(ready, folder)
    routing = ready.config.routing
    if ready.train.domains is None and not routing.anonymous:
        return found
    require_sound(routing)
    if ready.parent is not None or ready.config.budget != Budget():
        raise ConfigError("train.no_groups_here", what="--from" if ready.parent is not None else "budget")
    return replace(found, plans=[*found.plans, *_with_groups(found.plans)])


def _with_groups(plans: list[Plan]) -> list[Plan]:
    """The first plan with modules once more, with groups beside them."""
    first = next((plan for plan in plans if plan.grafts), None)
    return [] if first is None else [replace(first, variant=f"{first.variant} grouped", abreast=False, grouped=True)]


def _ungrouped(ready: Prepared, folder: Path) -> Lineup:
    strategy = strategy_of(ready.config)
    if ready.parent is not None:
        return Lineup(continued(ready.parent, ready.task))
    # What the base lacks is said even where there are too few rows for modules.
    given = [] if isinstance(strategy, Informed) else strategy.plans(ready.base.anatomy)
    if not len(ready.held):
        warn("train.no_validation")
        return Lineup([])
    if not isinstance(strategy, Informed):
        return Lineup(given)
    kept = folder / _PLANS
    if not kept.exists():
        # Timings differ from process to process; all have to train the same.
        (agreed,) = broadcast_object_list([_chosen(ready, strategy).facts()])
        write_atomically(kept, json.dumps(agreed).encode())
    return _read(json.loads(kept.read_text(encoding="utf-8")))


def _chosen(ready: Prepared, strategy: Informed) -> Lineup:
    began = time.perf_counter()
    ground = survey(ready, strategy)
    plans = strategy.plans_on(ground)
    costs = {plan.variant: ground.cost(plan) for plan in plans if plan.grafts}
    return Lineup(plans, time.perf_counter() - began, costs)


def _read(facts: Mapping[str, Any]) -> Lineup:
    costs = {variant: Predicted(**cost) for variant, cost in facts["costs"].items()}
    return Lineup([plan_of(plan) for plan in facts["plans"]], facts["seconds"], costs)
