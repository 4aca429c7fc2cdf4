"""The best sites and ranks between a boundary and an exit: a knapsack with a row for each limit.

A mixed-integer program: at most one rank for each site, at least one module in the layer at the boundary, the most gain
within the budget. Costs are linear in layers, modules and parameters, so every limit is one row of it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from tsugiki.placement.costs import MILLION, Load, num_params
from tsugiki.placement.ground import Ground, Module

Floats = NDArray[np.float64]

# Of one knapsack; what was found by then is taken.
_MOST_S = 1.0


def best_modules(ground: Ground, boundary: int, exit: int) -> list[Module]:
    """The modules that promise most within the budget; empty where none is promised anything, or none fits."""
    modules = list(ground.modules(boundary, exit))
    gains = np.array([module.gain for module in modules])
    if not gains.any():
        return []
    rows, least, most = zip(*_rows(ground, modules, boundary, exit), strict=True)
    found = milp(
        -gains,
        integrality=np.ones(len(modules), dtype=np.int64),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(np.stack(rows), least, most),
        options={"time_limit": _MOST_S},
    )
    if found.x is None:
        return []
    taken = [module for module, on in zip(modules, found.x, strict=True) if on > 0.5]
    # A smaller one of the same site may be promised as much.
    return [next(m for m in modules if m.place == own.place and m.gain >= own.gain) for own in taken]


def _rows(ground: Ground, modules: Sequence[Module], boundary: int, exit: int) -> Iterator[tuple[Floats, float, float]]:
    """Coefficients of all modules, and between what their sum has to lie."""
    for place in dict.fromkeys(module.place for module in modules):
        yield np.array([float(module.place == place) for module in modules]), 0.0, 1.0
    yield np.array([float(module.place[0] == boundary) for module in modules]), 1.0, np.inf
    # What the modules add, against what is left when the layers are paid for.
    bare = Load(1.0, float(exit - boundary), 0.0, 0.0)
    before = ground.costs.predicted(bare, exit)
    sizes = (num_params(ground.anatomy, module.place, module.form) / MILLION for module in modules)
    one = [ground.costs.predicted(bare._replace(modules=1.0, params=size), exit) for size in sizes]
    for field, limit in ground.budget.limits(before.latency_ms, ground.base_params):
        start = getattr(before, field)
        yield np.array([float(getattr(cost, field) - start) for cost in one]), -np.inf, limit - start
