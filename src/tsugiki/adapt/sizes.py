"""Which dispatch is quickest for which sizes; `explanation/measurements` has the figures."""

from torch import Tensor

from tsugiki.adapt.dispatch import DISPATCHES, Dispatch
from tsugiki.adapt.form import Form
from tsugiki.adapt.routing import Routing

# Tokens for each copy of the parameters, from which on copying is cheaper than anything else.
_LONG = 4
# Channels of all modules together, up to which two wide products are cheaper than sorting.
_NARROW = 128
# Pairs so few that copying is the cheapest whatever they are.
_FEW = 16

_LOOP, _GATHER, _JOINED, _GROUPED = (DISPATCHES.parse({"kind": k}) for k in ("loop", "gather", "joined", "grouped"))


def is_narrow(form: Form, modules: int) -> bool:
    """Whether two products over all modules are cheaper than sorting rows by theirs."""
    return 0 < form.channels * modules <= _NARROW


def suited(form: Form, routing: Routing, x: Tensor) -> Dispatch:
    """The dispatch for a routing of rows (R, S, I)."""
    if x.shape[1] >= _LONG or len(routing.rows) <= _FEW or not form.channels:
        return _GATHER
    if is_narrow(form, routing.num_modules):
        return _JOINED
    return _GROUPED if _GROUPED.takes(form) else _LOOP
