"""A route that gates decide while the pass runs: modules that always act, and groups that act where they are wanted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tsugiki.adapt.bank import Bank
from tsugiki.adapt.gates import CERTAIN, POOLED, Gates
from tsugiki.adapt.router import Router
from tsugiki.adapt.routing import Routing


@dataclass(frozen=True)
class Decision:
    """What one gate decided.

    Args:
        scores: how much better than nothing each group was that it decides on, (R, G).
        weights: with which they act, (R, G); zero where they do not.
        num_named: how many of them belong to domains; they come first.
        rows: row of the batch that each row here belongs to, -1 for padding, (R,).
    """

    scores: Tensor
    weights: Tensor
    num_named: int
    rows: Tensor

    @property
    def num_others(self) -> int:
        """How many of these groups have no domain (A)."""
        return self.scores.shape[1] - self.num_named

    @property
    def others(self) -> Tensor:
        """Scores of the groups without a domain for the rows that are no padding, (R', A)."""
        return self.scores[self.rows >= 0][:, self.num_named :]

    def active(self) -> float:
        """Share of the groups without a domain that act on a row, in the mean (0..1)."""
        return int((self.weights[:, self.num_named :] > 0).sum()) / max(1, self.others.numel())


class Deciding:
    """A route that says site by site what acts there, while the pass runs."""

    @property
    def names(self) -> set[str]:
        """Adapters that may act."""
        raise NotImplementedError(type(self).__name__)

    def changed(self, key: str, bank: Bank, x: Tensor, y: Tensor) -> Tensor:
        """What a site returns, (B, S, O), changed by the modules of its bank.

        Args:
            key: of the site, `LAYER.SITE`.
            bank: modules that stand there.
            x: what the site reads, (B, S, I).
            y: what it returns, (B, S, O).
        """
        raise NotImplementedError(type(self).__name__)


@dataclass(eq=False)
class Gating(Deciding):
    """The route of one pass over one batch.

    Args:
        always: adapter whose modules act on every row.
        groups: name of each group, as it is attached (E).
        gates: which decide.
        router: the rule by which they do.
        mask: 1 for tokens, 0 for padding, (B, S).
        pooled: state of each row at the boundary, in the mean over its tokens, (B, d); needed where a gate
            decides for whole inputs.
        domains: of each row, -1 for none of them, (B,); None where the gates have to find out.
        decisions: what was decided so far, by the key of the gate.
    """

    always: str
    groups: Sequence[str]
    gates: Gates
    router: Router
    mask: Tensor
    pooled: Tensor | None = None
    domains: Tensor | None = None
    decisions: dict[str, Decision] = field(default_factory=dict)
    _routings: dict[tuple[tuple[int | None, ...], int], Routing] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """Adapters that may act."""
        return {self.always, *self.groups}

    def changed(self, key: str, bank: Bank, x: Tensor, y: Tensor) -> Tensor:
        """As the contract says."""
        if self.always in bank.forms:
            y = bank.added(self.always, x, y)
        numbers = [bank.number(name) for name in self.groups]
        if POOLED in self.gates.keys:
            own = self._routing(tuple(numbers[: self._of_inputs().weights.shape[1]]), len(bank.forms))
            y = y if own.is_null else bank.routed(own, x, y)
        if key in self.gates.keys:
            weights = self._of_tokens(key, x).weights.unflatten(0, x.shape[:2])
            y = bank.weighed(numbers[self.gates.num_named :], weights, x, y)
        return y

    def _routing(self, numbers: tuple[int | None, ...], modules: int) -> Routing:
        """The decision for whole inputs among the modules of a bank; banks that are made alike share it."""
        if (numbers, modules) not in self._routings:
            whole = Routing.weighing(self._of_inputs().weights)
            self._routings[numbers, modules] = whole.renumbered(numbers, modules)
        return self._routings[numbers, modules]

    def _of_inputs(self) -> Decision:
        """The decision for whole inputs, which is made once and kept."""
        if POOLED not in self.decisions:
            assert self.pooled is not None
            rows = torch.arange(len(self.pooled), device=self.pooled.device)
            scores, number = self.gates.scores(POOLED, self.pooled), self.gates.num_named
            if self.domains is not None:
                own = self.domains[:, None] == torch.arange(number, device=scores.device)
                named = torch.full_like(scores[:, :number], CERTAIN).where(own, -torch.inf)
                scores = torch.cat([named, scores[:, number:]], 1)
            self.decisions[POOLED] = Decision(scores, self.router.decided(scores), number, rows)
        return self.decisions[POOLED]

    def _of_tokens(self, key: str, x: Tensor) -> Decision:
        rows = torch.arange(len(x), device=x.device)[:, None].where(self.mask.bool(), -1).flatten()
        scores = self.gates.scores(key, x.flatten(0, 1))
        acting = scores.where(rows[:, None] >= 0, -torch.inf)
        self.decisions[key] = Decision(scores, self.router.decided(acting), 0, rows)
        return self.decisions[key]
