"""How good the answers of a set are, and what is lost because an input has to find its adapter by itself."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from tsugiki.composed.adapters import Composed
from tsugiki.data.rows import Rows
from tsugiki.errors import RowsError


@dataclass(frozen=True)
class OfAdapter:
    """One adapter of a set on labelled rows.

    Args:
        name: of the adapter.
        answered: rows that it answered.
        precision: how right these answers are in the mean (0..1); None where there are none.
        own: rows that are for it; None where rows do not say whose they are, as all that follows.
        found: share of these that it answered (0..1).
        nobody: share of these that nobody answered.
        score: how right answers to these are, whoever gave them (0..1).
        named: how right its own answers to these are.
    """

    name: str
    answered: int
    precision: float | None
    own: int | None = None
    found: float | None = None
    nobody: float | None = None
    score: float | None = None
    named: float | None = None


@dataclass(frozen=True)
class SetEvaluation:
    """What came of answering rows by a set.

    Args:
        score: how right answers are in the mean (0..1); none is wrong where a label was wanted.
        num_rows: N.
        nobody: share of rows that nobody answered (0..1).
        adapters: each of them, in the order of the set.
        own: rows that name an adapter of the set; None where rows name none, as all that follows.
        routed: how right answers to these are (0..1).
        named: how right those of their own adapters are.
        lost: share of these that lose a right answer by the answer of another adapter.
        foreign: rows that name no adapter of the set.
        foreign_nobody: share of these that nobody answered; None where there are none.
    """

    score: float
    num_rows: int
    nobody: float
    adapters: tuple[OfAdapter, ...]
    own: int | None = None
    routed: float | None = None
    named: float | None = None
    lost: float | None = None
    foreign: int | None = None
    foreign_nobody: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Everything as plain data."""
        return asdict(self)


def evaluate_set(composed: Composed, rows: Rows) -> SetEvaluation:
    """Answer rows by a set and compare with their labels.

    Args:
        composed: the set.
        rows: with labels; where they have domains, these name the adapters that rows are for, and rows for none need
            no label.

    Raises:
        RowsError: there is no row, or rows for an adapter have no labels.
    """
    if not len(rows):
        raise RowsError("evaluate.empty")
    if rows.labels is None:
        raise RowsError("evaluate.no_labels")
    known = {*composed.names}
    domains = rows.domains if rows.domains is not None else [composed.names[0]] * len(rows)
    if any(not label and domain.strip() in known for label, domain in zip(rows.labels, domains, strict=True)):
        raise RowsError("evaluate.no_labels")
    answers = composed.predict(rows.texts)
    who = torch.tensor([-1 if a.adapter is None else composed.names.index(a.adapter) for a in answers])
    right = torch.zeros(len(rows))
    for member in range(len(composed.names)):
        at = (who == member).nonzero().squeeze(1).tolist()
        right[at] = _right(composed, member, [answers[row].label for row in at], [rows.labels[row] for row in at])
    over_all: Any = {"score": float(right.mean()), "num_rows": len(rows), "nobody": float((who < 0).float().mean())}
    answered = [(name, int((who == m).sum()), _mean(right[who == m])) for m, name in enumerate(composed.names)]
    if rows.domains is None:
        return SetEvaluation(**over_all, adapters=tuple(OfAdapter(*told) for told in answered))
    number = {name: at for at, name in enumerate(composed.names)}
    owner = torch.tensor([number.get(domain.strip(), -1) for domain in rows.domains])
    by_name = torch.zeros(len(rows))
    for member, name in enumerate(composed.names):
        at = (owner == member).nonzero().squeeze(1).tolist()
        found = composed.run_many([rows.texts[row] for row in at], [name])[name]
        by_name[at] = _right(composed, member, [a.label for a in found], [rows.labels[row] for row in at])
    own, foreign = owner >= 0, owner < 0
    adapters = []
    for member, told in enumerate(answered):
        of = owner == member
        shares = (_mean((who[of] == member).float()), _mean((who[of] < 0).float()))
        adapters.append(OfAdapter(*told, int(of.sum()), *shares, _mean(right[of]), _mean(by_name[of])))
    return SetEvaluation(
        **over_all,
        adapters=tuple(adapters),
        own=int(own.sum()),
        routed=_mean(right[own]),
        named=_mean(by_name[own]),
        lost=_mean(((by_name > right) & (who >= 0) & (who != owner)).float()[own]),
        foreign=int(foreign.sum()),
        foreign_nobody=_mean((who[foreign] < 0).float()),
    )


def _right(composed: Composed, member: int, found: list[str], wanted: list[str]) -> Tensor:
    task = composed.task_of(member)
    return task.match(task.targets(found), task.targets(wanted)).float() if found else torch.zeros(0)


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
