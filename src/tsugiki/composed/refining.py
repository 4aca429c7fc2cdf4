"""A set whose router learns from rows of which it is known whose they are.

What packages carry decides without a row, each adapter for itself. Where the inputs of several are near to each other,
what tells them apart may not be what describes each of them best; a linear function of states, on top of densities,
makes up for that. How far it may go is decided by rows that it did not learn from; so is whether it is taken at all.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tsugiki.adapt.correction import Correction
from tsugiki.adapt.recogniser import floor_of
from tsugiki.composed.adapters import Composed
from tsugiki.composed.folder import Set
from tsugiki.data.rows import Rows
from tsugiki.errors import RowsError
from tsugiki.i18n import warn

_FOLDS = 5
# Of the squared weights of states: from almost free to none at all, which leaves a number for each adapter. And of the
# mean square of these.
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, math.inf)
_OF_BIAS = 1e-2
_STEPS = 100
# Rows of each adapter, below which what tells them apart is not learnt.
_FEWEST = 5
# Densities in this unit are near one, as the optimiser wants numbers.
_NATS = 20.0


class Taught(NamedTuple):
    """A set whose router learnt from rows, and what that came to.

    Args:
        found: the set with a correction and floors.
        rows: that named an adapter of the set.
        before: share of them that were nearest to their own adapter, in the mean over adapters (0..1).
        after: share that went there under what other rows taught each time.
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
    # Each text once: a repeated one is no further proof, and would be learnt from and asked at the same time.
    own = list({text: number[d] for text, d in zip(rows.texts, domains, strict=False) if d in number}.items())
    if not own:
        raise RowsError("compose.no_owner", allowed=", ".join(composed.names))
    owners = torch.tensor([owner for _, owner in own])
    projected = composed.projected([text for text, _ in own])
    densities = composed.recogniser.densities_of(projected)
    composition, statistics = composed.set.composition, composed.recogniser.statistics
    floors = []
    for at, member in enumerate(composition.members):
        given = densities[owners == at, at]
        known = torch.cat([statistics[at]["densities"], given]).sort().values
        floors.append(floor_of(known, composition.share, composition.confidence) if len(given) else member.floor)
    before = composed.recogniser.correction
    weighed = densities + before.of(projected)
    counts = owners.bincount(minlength=len(floors))
    if few := [name for name, count in zip(composed.names, counts.tolist(), strict=True) if count < _FEWEST]:
        # What tells adapters apart cannot be learnt from the rows of some of them: the others would lose all theirs.
        warn("compose.few_rows", names=", ".join(few[:8]), allowed=_FEWEST)
        share = _share(weighed, owners)
        return Taught(composed.set.taught(floors, composed.set.correction), len(own), share, share)
    learnt = refine(weighed, projected, owners)
    kept = composed.set.correction if learnt.correction is None else before.with_more(learnt.correction)
    return Taught(composed.set.taught(floors, kept), len(own), learnt.before, learnt.after)


class Refined(NamedTuple):
    """What rows taught a router.

    Args:
        correction: of densities; None where rows have nothing to teach.
        before: share of the rows that were nearest to their own adapter, in the mean over adapters (0..1).
        after: the same under corrections that were learnt from other rows each time (0..1).
    """

    correction: Correction | None
    before: float
    after: float


def refine(densities: Tensor, projected: Tensor, owners: Tensor, seed: int = 0) -> Refined:
    """A correction under which rows go to their own adapter.

    Args:
        densities: of rows to each adapter, in nats (N, E).
        projected: states of the rows, as statistics see them (N, 128).
        owners: number of each row's adapter (N,).
        seed: of the folds.
    """
    order = torch.randperm(len(owners), generator=torch.Generator().manual_seed(seed))
    fold = torch.empty_like(order)
    fold[order] = torch.arange(len(owners)) % _FOLDS
    # Far below the best they change nothing, and would only spoil the scale.
    near = (densities - densities.amax(1, keepdim=True)).double() / _NATS
    mean, scale = projected.mean(0), projected.std(0, correction=0).clamp(min=1e-6) * math.sqrt(projected.shape[1])
    states = ((projected - mean) / scale).double()

    def kept_out(penalty: float) -> Tensor:
        """Each row's logits, as other rows taught them."""
        found = near.clone()
        for number in fold.unique().tolist():
            asked = fold == number
            fit = _fitted(near[~asked], states[~asked], owners[~asked], penalty)
            found[asked] = fit.logits(near[asked], states[asked])
        return found

    tried = {penalty: kept_out(penalty) for penalty in _PENALTIES}
    best = min(tried, key=lambda penalty: float(_loss(tried[penalty], owners)))
    before, after = _share(near, owners), _share(tried[best], owners)
    fit = _fitted(near, states, owners, best)
    if after <= before or fit.slope <= 0:
        return Refined(None, before, before)
    weight = (fit.weight.T / scale / fit.slope * _NATS).float()
    bias = (fit.bias / fit.slope * _NATS).float() - weight @ mean
    return Refined(Correction(weight, bias), before, after)


class _Fit(NamedTuple):
    """A logistic regression: one slope for all densities, and of states a weight (128, E) and a bias (E,)."""

    slope: Tensor
    weight: Tensor
    bias: Tensor

    def logits(self, near: Tensor, states: Tensor) -> Tensor:
        return self.slope * near + states @ self.weight + self.bias


def _fitted(near: Tensor, states: Tensor, owners: Tensor, penalty: float) -> _Fit:
    fit = _Fit(torch.ones(()).double(), *(torch.zeros(*n, near.shape[1]).double() for n in ((states.shape[1],), ())))
    if not len(owners):
        return fit
    learnt = [fit.slope, fit.bias] if penalty == math.inf else list(fit)
    optimiser = torch.optim.LBFGS([t.requires_grad_() for t in learnt], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = _loss(fit.logits(near, states), owners) + _OF_BIAS * fit.bias.square().mean()
        if penalty < math.inf:
            loss = loss + penalty * fit.weight.square().sum()
        torch.autograd.backward(loss)
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    return _Fit(*(tensor.detach() for tensor in fit))


def _loss(logits: Tensor, owners: Tensor) -> Tensor:
    """Every adapter counts alike: how many rows of each somebody gave says nothing of how many will come."""
    counts = owners.bincount(minlength=logits.shape[1]).clamp(min=1)
    return functional.cross_entropy(logits, owners, weight=(1.0 / counts).to(logits.dtype))


def _share(logits: Tensor, owners: Tensor) -> float:
    right = (logits.argmax(1) == owners).double()
    return float(torch.stack([right[owners == at].mean() for at in owners.unique()]).mean())
