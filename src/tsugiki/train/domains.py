"""Domains of rows: which there are, which a row is from, and a gate that tells them apart before any training."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tsugiki.data.rows import Rows
from tsugiki.errors import RowsError
from tsugiki.i18n import warn
from tsugiki.tasks.task import TASKS
from tsugiki.train.head import PENALTIES, LinearHead, fit_path
from tsugiki.train.heads import middle

_FEWEST_ROWS, _FEWEST = 2, 2
_FOLDS = 5


def domains_in(rows: Rows) -> tuple[str, ...]:
    """Domains that get modules, in alphabetical order; none where nobody asked for them.

    One of which a single row is left to learn from cannot be told from the others, and is said to get none.

    Raises:
        RowsError: fewer than two are left.
    """
    if rows.domains is None:
        return ()
    counts = Counter(domain for domain in rows.domains if domain)
    rare = sorted(domain for domain, count in counts.items() if count < _FEWEST_ROWS)
    if rare:
        warn("train.rare_domains", domains=", ".join(rare[:8]), count=len(rare))
    found = tuple(sorted(counts.keys() - {*rare}))
    if len(found) < _FEWEST:
        raise RowsError("train.few_domains", found=len(found), allowed=_FEWEST)
    return found


def places_of(domains: Sequence[str] | None, known: Sequence[str], rows: int) -> Tensor:
    """Number of each row's domain among the known ones, -1 for none of them, (N,)."""
    number = {domain: at for at, domain in enumerate(known)}
    return torch.tensor([number.get(domain, -1) for domain in domains or [""] * rows], dtype=torch.int64)


@dataclass(frozen=True)
class Known:
    """A gate by sequence that knows domains before anything is trained.

    Args:
        weight: of states that are brought to one scale, as gates bring them, (D, d).
        bias: (D,).
        foretold: domain that it would find for each training row if it had not learnt from it, -1 for none, (N,).
            Modules that learn under these get used to what gates confuse.
    """

    weight: Tensor
    bias: Tensor
    foretold: Tensor


def known_by(pooled: Tensor, domains: Tensor, held: Tensor, held_domains: Tensor, names: Sequence[str]) -> Known:
    """A gate that no step of training touches: the regularised logistic regression that heads start from.

    Args:
        pooled: states of the training rows at the boundary, (N, d).
        domains: number of each row's domain, -1 where it is not known, (N,).
        held: states of the rows that were held out, by which the penalty is chosen, (M, d).
        held_domains: numbers of their domains, (M,).
        names: of the domains (D).
    """
    task = TASKS.parse({"kind": "classify", "labels": tuple(names)})
    known, seen, level = (domains >= 0).nonzero().squeeze(1), held_domains >= 0, _level(pooled)
    heads = fit_path(level[known], domains[known], task)

    def loss(head: LinearHead) -> float:
        return task.measure(head.scores(_level(held[seen])), held_domains[seen])[1]

    best = min(heads, key=loss) if seen.any() else middle(heads)
    penalties = PENALTIES[: PENALTIES.index(best.penalty) + 1]
    found, fold = torch.full_like(domains, -1), torch.arange(len(known)) % _FOLDS
    for number in range(_FOLDS):
        learnt, asked = known[fold != number], known[fold == number]
        *_, head = fit_path(level[learnt], domains[learnt], task, penalties)
        shares = head.scores(level[asked]).softmax(1)
        # As gates count it: more likely than not.
        found[asked] = shares.argmax(1).where(shares.amax(1) > 0.5, -1)
    return Known(best.weight, best.bias, found)


def _level(states: Tensor) -> Tensor:
    return functional.layer_norm(states.float(), states.shape[-1:])
