"""What a choice is measured against: placements that cost the same and were not chosen."""

import math

import numpy as np

from tsugiki.adapt.adapted import Graft
from tsugiki.placement.choice import Option
from tsugiki.placement.ground import Ground
from tsugiki.placement.plan import Plan


def controls_of(chosen: Option, ground: Ground, seed: int) -> tuple[Plan, ...]:
    """A uniform and a random control, without those that place what was chosen.

    Args:
        chosen: what they are to cost as much as.
        ground: that it was chosen on.
        seed: of the random one.
    """
    found = uniform_like(chosen, ground), random_like(chosen.plan, ground, seed)
    return tuple(plan for plan in found if set(plan.grafts) != set(chosen.plan.grafts))


def random_like(plan: Plan, ground: Ground, seed: int) -> Plan:
    """The same ranks between the same boundary and exit, at sites drawn by chance; one stands at the boundary."""
    rng = np.random.default_rng(seed)
    boundary, exit = min(graft.layer for graft in plan.grafts), max(plan.states)
    lowest = [(boundary, site) for site in ground.sites[boundary]]
    above = [(layer, site) for layer in range(boundary + 1, exit) for site in ground.sites[layer]]
    first = lowest.pop(int(rng.integers(len(lowest))))
    rest = [*lowest, *above]
    drawn = [first, *(rest[at] for at in rng.permutation(len(rest))[: len(plan.grafts) - 1])]
    forms = [plan.grafts[at].form for at in rng.permutation(len(plan.grafts))]
    grafts = [Graft(layer, site, form) for (layer, site), form in zip(drawn, forms, strict=True)]
    return ground.plan(grafts, exit, "random")


def uniform_like(option: Option, ground: Ground) -> Plan:
    """One rank at every site of a suffix under the same exit, whichever comes nearest in seconds and parameters."""
    exit = max(option.plan.states)
    plans = [
        ground.plan(
            [Graft(layer, site, form) for layer in range(boundary, exit) for site in ground.sites[layer]],
            exit,
            "uniform",
        )
        for boundary in range(exit)
        for form in ground.forms.values()
    ]

    def far(plan: Plan) -> float:
        cost = ground.cost(plan)
        seconds, params = cost.train_s / option.cost.train_s, cost.num_params / option.cost.num_params
        return math.hypot(math.log(seconds), math.log(params))

    return min(plans, key=far)
