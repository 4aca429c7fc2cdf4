"""A scion with groups: modules that always act, and modules that act where gates want them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tsugiki.adapt.adapted import AdaptedModel, Asked, Graft
from tsugiki.adapt.classifier import Classifier
from tsugiki.adapt.gates import Gates
from tsugiki.adapt.gating import Decision, Gating
from tsugiki.adapt.groups import Group, Groups
from tsugiki.adapt.router import Router
from tsugiki.base.prefix_cache import CachedRows
from tsugiki.train.learner import NAME
from tsugiki.train.loop import scores
from tsugiki.train.loss import Loss
from tsugiki.train.scion import Scion

# Rows by which gates are moved in the end, and told how many act.
_SETTLED_ROWS = 512


class GroupedScion(Scion):
    """Everything trainable, with gates.

    While it learns, the domains of the training rows are given; afterwards gates have to find them, or `given` says the
    domains of the rows that are asked.

    Args:
        adapted: the base.
        grafts: modules that always act.
        classifier: reader and head.
        seed: of fresh modules.
        groups: those of domains first.
        gates: which decide.
        router: the rule by which they do.
        losses: that gates are held to.
        domains: whose modules act on each training row, -1 for none, (N,).
    """

    coefficients: Tensor

    def __init__(
        self,
        adapted: AdaptedModel,
        grafts: Sequence[Graft],
        classifier: Classifier,
        seed: int,
        groups: Sequence[Group],
        gates: Gates,
        router: Router,
        losses: Sequence[Loss],
        domains: Tensor,
    ) -> None:
        super().__init__(adapted, grafts, classifier, seed)
        self.grouped = Groups(adapted, NAME, groups, gates, router, self.boundary, seed=seed)
        self.gates = gates
        # Kept with the parameters, so that a run that goes on weighs as it did.
        self.register_buffer("coefficients", torch.tensor([loss.weight for loss in losses]))
        self._losses, self._domains = tuple(losses), domains
        self._learns = False
        self._last: Gating | None = None
        self._active: list[float] = []
        self.given: Tensor | None = None
        self.watched: list[Gating] | None = None

    def set_training(self, dropout: float | None, generator: torch.Generator | None = None) -> None:
        """As of a scion; while dropout is on, the domains of the training rows are given."""
        super().set_training(dropout, generator)
        self._learns = dropout is not None

    def _route(self, rows: CachedRows, indices: Sequence[int], mask: Tensor) -> Asked:
        domains = self._domains if self._learns else self.given
        own = None if domains is None else domains[list(indices)].to(mask.device)
        pooled = rows.pooled[list(indices)][:, self.boundary].to(mask.device)
        gating = self.grouped.gating(mask, pooled, own)
        self._last = gating
        if self.watched is not None:
            self.watched.append(gating)
        return gating

    def run(self, ids: Tensor, mask: Tensor) -> dict[int, Tensor]:
        """As of a scion."""
        return self.grouped.run(ids, mask, self.classifier.states)[0]

    def penalty(self) -> Tensor | None:
        """What gates are held to, in the mean over the places of the last pass."""
        gating, self._last = self._last, None
        if gating is None:
            return None
        open_ = [seen for seen in gating.decisions.values() if seen.num_others]
        self._active += [seen.active() for seen in open_]
        weighed = list(zip(self._losses, self.coefficients, strict=True))
        # Every parameter takes part in every step, since processes wait for each other's gradients.
        total = 0.0 * torch.stack([t.sum() for t in (*self.grouped.tensors().values(), *self.gates.parameters())]).sum()
        for loss, weight in weighed:
            for seen in open_:
                total = total + loss.of(seen, weight) / len(open_)
        return total

    def stepped(self, meet: Callable[[Tensor], Tensor]) -> None:
        """Weigh the losses for the next step by what acted in this one, in the mean over processes."""
        if not self._active:
            return
        active = float(meet(torch.tensor(self._active, device=self.coefficients.device).mean()))
        self._active.clear()
        self.coefficients.copy_(torch.tensor([loss.adapted(active) for loss in self._losses]))

    def settle(self, rows: CachedRows) -> None:
        """Move gates where losses want them when training is over, by what they say of some training rows."""
        if len(self.grouped.names) == self.gates.num_named:
            return
        if seen := self.decided(spread(rows)):
            told = torch.cat([decision.others.flatten() for decision in seen])
            self.gates.move(sum(loss.shift(told) for loss in self._losses))

    def decided(self, rows: CachedRows) -> list[Decision]:
        """What gates decide about groups without a domain on some rows."""
        self.watched = []
        scores(self, rows)
        found, self.watched = self.watched, None
        return [seen for gating in found for seen in gating.decisions.values() if seen.num_others]

    def groups(
        self, learning_rate: float, reader_learning_rate: float, head_learning_rate: float, weight_decay: float
    ) -> list[dict[str, object]]:
        """As of a scion; gates like readers, without decay: at zero they would not be closed."""
        found = super().groups(learning_rate, reader_learning_rate, head_learning_rate, weight_decay)
        gates: list[nn.Parameter] = list(self.gates.parameters())
        return [*found, {"params": gates, "lr": reader_learning_rate, "weight_decay": 0.0}]

    def close(self) -> None:
        """As of a scion."""
        self.grouped.close()
        super().close()


def spread(rows: CachedRows) -> CachedRows:
    """At most some hundred rows, from all of them: files are often sorted."""
    return rows.take(range(0, len(rows), max(1, -(-len(rows) // _SETTLED_ROWS))))
