"""A set whose router learns from rows of which it is known whose they are.

What packages carry decides without a row. Where the inputs of two adapters are near to each other, one of them may seem
the more familiar throughout, since densities of small sets are the less sure; one number for each adapter makes up for
that. How far these may go is decided by rows that they did not learn from; so is whether they are taken at all.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tsugiki.adapt.recogniser import floor_of
from tsugiki.composed.adapters import Composed
from tsugiki.composed.folder import Set
from tsugiki.data.rows import Rows
from tsugiki.errors import RowsError
from tsugiki.i18n import warn

_FOLDS = 5
# Of squared shifts: from almost free to none at all.
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, math.inf)
_STEPS = 100
# Densities in this unit are near one, as the optimiser wants numbers.
_NATS = 20.0


class Taught(NamedTuple):
    """A set whose router learnt from rows, and what that came to.

    Args:
        found: the set with offsets and floors.
        rows: that named an adapter of the set.
        before: share of them that were most familiar to their own adapter (0..1).
        after: the same with offsets that were learnt from other rows each time.
    """

    found: Set
    rows: int
    before: float
    after: float


def taught(composed: Composed, rows: Rows) -> Taught:
    """A set whose router learns from rows.

    Floors rest on the rows that were held out in training and on these together.

    Args:
        composed: the set.
        rows: with the names of their adapters as domains; rows without one are for nobody, and teach nothing.

    Raises:
        RowsError: no row names an adapter of the set.
    """
    number = {name: at for at, name in enumerate(composed.names)}
    domains = [domain.strip() for domain in rows.domains or ()]
    if strangers := sorted({domain for domain in domains if domain and domain not in number}):
        warn("compose.strangers", count=len(strangers), names=", ".join(strangers[:8]))
    own = [at for at, domain in enumerate(domains) if domain in number]
    if not own:
        raise RowsError("compose.no_owner", allowed=", ".join(composed.names))
    owners = torch.tensor([number[domains[at]] for at in own])
    densities = composed.densities([rows.texts[at] for at in own])
    learnt = refine(densities, owners)
    composition, statistics = composed.set.composition, composed.recogniser.statistics
    members = []
    for at, member in enumerate(composition.members):
        given = densities[owners == at, at]
        known = torch.cat([statistics[at]["densities"], given]).sort().values
        floor = floor_of(known, composition.share, composition.confidence) if len(given) else member.floor
        members.append(member.model_copy(update={"offset": float(learnt.offsets[at]), "floor": floor}))
    composition = composition.model_copy(update={"members": tuple(members)})
    return Taught(replace(composed.set, composition=composition), len(own), learnt.before, learnt.after)


class Refined(NamedTuple):
    """What rows taught a router.

    Args:
        offsets: in nats, of each adapter, on top of its density (E,); all zero where rows speak for none.
        before: share of the rows that were most familiar to their own adapter (0..1).
        after: the same with offsets, which were learnt from other rows each time (0..1).
    """

    offsets: Tensor
    before: float
    after: float


def refine(densities: Tensor, owners: Tensor, seed: int = 0) -> Refined:
    """Offsets under which rows are most familiar to their own adapter.

    Args:
        densities: of rows to each adapter, in nats (N, E).
        owners: number of each row's adapter (N,).
        seed: of the folds.
    """
    order = torch.randperm(len(owners), generator=torch.Generator().manual_seed(seed))
    fold = torch.empty_like(order)
    fold[order] = torch.arange(len(owners)) % _FOLDS
    # Far below the best they change nothing, and would only spoil the scale.
    near = (densities - densities.amax(1, keepdim=True)).double() / _NATS

    def kept_out(penalty: float) -> Tensor:
        """Each row's logits, as other rows taught them."""
        found = near.clone()
        for number in fold.unique().tolist():
            asked = fold == number
            slope, shifts = _fitted(near[~asked], owners[~asked], penalty)
            found[asked] = slope * near[asked] + shifts
        return found

    tried = {penalty: kept_out(penalty) for penalty in _PENALTIES}
    best = min(tried, key=lambda penalty: float(functional.cross_entropy(tried[penalty], owners)))
    before, after = (float((logits.argmax(1) == owners).float().mean()) for logits in (near, tried[best]))
    slope, shifts = _fitted(near, owners, best)
    if best == math.inf or after < before or slope <= 0:
        return Refined(torch.zeros(densities.shape[1]), before, before)
    return Refined((shifts / slope * _NATS).float(), before, after)


def _fitted(near: Tensor, owners: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Logistic regression with one slope for all densities (), and a shift for each adapter (E,)."""
    slope = torch.ones((), dtype=torch.float64, requires_grad=True)
    shifts = torch.zeros(near.shape[1], dtype=torch.float64, requires_grad=True)
    learnt = [slope] if penalty == math.inf else [slope, shifts]
    optimiser = torch.optim.LBFGS(learnt, max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = functional.cross_entropy(slope * near + shifts, owners)
        if penalty < math.inf:
            loss = loss + penalty * shifts.square().mean()
        torch.autograd.backward(loss)
        return loss

    if len(owners):
        with torch.enable_grad():
            optimiser.step(closure)
    return slope.detach(), shifts.detach() - shifts.detach().mean()
