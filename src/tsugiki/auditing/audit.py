"""An audit of modules over many rows: each player and each pair of players is taken off every row that it acts on."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from tsugiki.audited import Audit, Member, Pair
from tsugiki.auditing.case import Case, case_of
from tsugiki.auditing.seats import group_name
from tsugiki.composed.adapters import Composed
from tsugiki.data.rows import Rows
from tsugiki.data.split import subsample
from tsugiki.errors import PackageError, RowsError
from tsugiki.i18n import text
from tsugiki.progress import progress
from tsugiki.tasks.adapter import Adapter

_MOST_ROWS, _FEWEST_WEIGHTS = 200, 10
_Who = tuple[str, int]


@dataclass
class _Seen:
    """What one row, or many of them, told of players by (name, layer).

    Args:
        num_modules: of each.
        weights: of each, row by row.
        effects: of each: the answer's log-likelihood less that without it.
        pairs: of two: losses without both, without the first, without the second.
    """

    num_modules: dict[_Who, int] = field(default_factory=dict)
    weights: dict[_Who, list[float]] = field(default_factory=lambda: defaultdict(list))
    effects: dict[_Who, list[float]] = field(default_factory=lambda: defaultdict(list))
    pairs: dict[tuple[_Who, _Who], list[tuple[float, float, float]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, case: Case, worth: NDArray[np.float64]) -> None:
        """A row, with its worth under the coalitions that `_asked` names."""
        players = range(len(case.seats))
        without = dict(zip(_asked(len(case.seats)), (worth[0] - worth).tolist(), strict=True))
        who = [(seat.name, seat.layer) for seat in case.seats]
        rest = {gone: without[_rest(len(case.seats), gone)] for gone in [(p,) for p in players]}
        for player in players:
            self.num_modules[who[player]] = len(case.seats[player].grafts)
            self.weights[who[player]].append(case.seats[player].weight)
            self.effects[who[player]].append(rest[player,])
        for one, other in combinations(players, 2):
            both = without[_rest(len(case.seats), (one, other))]
            self.pairs[who[one], who[other]].append((both, rest[one,], rest[other,]))

    def members(self, rows: int) -> tuple[Member, ...]:
        """Each player over all rows, by layer."""
        return tuple(self._member(who, rows) for who in self._order())

    def related(self) -> tuple[Pair, ...]:
        """Each pair over the rows on which both acted."""
        number = {who: at for at, who in enumerate(self._order())}
        return tuple(pair_of(number[one], number[other], found) for (one, other), found in self.pairs.items())

    def _order(self) -> list[_Who]:
        return sorted(self.num_modules, key=lambda who: (who[1], who[0]))

    def _member(self, who: _Who, rows: int) -> Member:
        weights, effects = np.array(self.weights[who]), np.array(self.effects[who])
        told = len(weights) >= _FEWEST_WEIGHTS and weights.std() > 0 and effects.std() > 0
        return Member(
            name=who[0],
            layer=who[1],
            num_modules=self.num_modules[who],
            activity=len(weights) / rows,
            weight=float(weights.mean()),
            effect=float(effects.mean()),
            error=_error(effects),
            agreement=float(spearmanr(weights, effects).statistic) if told else None,
        )


def audit(asked: Adapter | Composed, rows: Rows) -> Audit:
    """Audit the modules of an adapter, or of a set of them.

    Args:
        asked: with modules.
        rows: labelled, that it was not trained on, with domains where there are some; two hundred of them are drawn
            where there are more. A row whose label the adapter does not know is judged by the answer that is given.

    Raises:
        PackageError: nothing has a module.
        RowsError: there is no row.
    """
    packages = asked.set.packages if isinstance(asked, Composed) else (asked.package,)
    name = asked.set.composition.name if isinstance(asked, Composed) else asked.manifest.name
    if not any(package.grafts for package in packages):
        raise PackageError("ablation.no_modules", package=name, variant=packages[0].manifest.variant)
    if not len(rows):
        raise RowsError("audit.no_rows")
    if len(rows) > _MOST_ROWS:
        rows = rows.take(subsample(rows.strata if rows.labels else [""] * len(rows), _MOST_ROWS, seed=0))
    seen, answered = _Seen(), 0
    acting: dict[str, Counter[str]] = defaultdict(Counter)
    of_each: Counter[str] = Counter()
    labels: tuple[str | None, ...] = rows.labels or (None,) * len(rows)
    where = rows.domains or rows.labels
    with progress(text("audit.bar"), len(rows)) as advance:
        for number, (asking, label) in enumerate(zip(rows.texts, labels, strict=True)):
            case = case_of(asked, asking)
            if case is not None:
                answered += 1
                seen.add(case, case.worth(_asked(len(case.seats)), _wanted(case, label)))
            if where is not None:
                of_each[where[number]] += 1
                acting[where[number]].update({seat.name for seat in case.seats} if case else ())
            advance(1)
    shares = {d: {n: c / of_each[d] for n, c in sorted(acting[d].items())} for d in sorted(of_each)}
    return Audit(
        adapter=name,
        num_rows=len(rows),
        num_unanswered=len(rows) - answered,
        members=(*seen.members(len(rows)), *_resting(asked, seen)),
        pairs=seen.related(),
        activity=shares,
    )


def pair_of(first: int, second: int, found: Sequence[tuple[float, float, float]]) -> Pair:
    """Two players over rows.

    Args:
        first: number of one.
        second: number of the other.
        found: for each row what the answer loses without both, without the first, and without the second.
    """
    both, one, other = np.array(found).T
    beyond = one + other - both
    return Pair(
        first=first,
        second=second,
        num_rows=len(found),
        together=float(both.mean()),
        alone=(float(one.mean()), float(other.mean())),
        instead=(float((both - other).mean()), float((both - one).mean())),
        beyond=float(beyond.mean()),
        error=_error(beyond),
    )


def _asked(players: int) -> list[tuple[int, ...]]:
    """Everybody, everybody but one, everybody but two; each coalition once."""
    gone = [(), *((p,) for p in range(players)), *combinations(range(players), 2)]
    return list(dict.fromkeys(_rest(players, out) for out in gone))


def _rest(players: int, gone: Sequence[int]) -> tuple[int, ...]:
    return tuple(player for player in range(players) if player not in gone)


def _error(values: NDArray[np.float64]) -> float | None:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None


def _wanted(case: Case, label: str | None) -> Tensor | None:
    """The right answer as a target; None where nobody says it, or the adapter does not know it."""
    if label is None:
        return None
    task = case.answering.task
    target = task.targets([label])
    return target if bool(task.known(target).all()) else None


def _resting(asked: Adapter | Composed, seen: _Seen) -> list[Member]:
    """Players that no row called for."""
    if isinstance(asked, Composed):
        named = list(zip(asked.names, (package.grafts for package in asked.set.packages), strict=True))
    else:
        package = asked.package
        named = [(group_name(package, number), list(group.grafts)) for number, group in enumerate(package.groups)]
    return [
        Member(
            name=name,
            layer=layer,
            num_modules=sum(graft.layer == layer for graft in grafts),
            activity=0.0,
            weight=0.0,
            effect=0.0,
            error=None,
        )
        for name, grafts in named
        for layer in sorted({graft.layer for graft in grafts})
        if (name, layer) not in seen.num_modules
    ]
