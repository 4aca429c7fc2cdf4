"""What one run trains: modules over a boundary, a reader and a head, fed from the prefix cache."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tsugiki.adapt.adapted import AdaptedModel, Asked, Graft
from tsugiki.adapt.classifier import Classifier
from tsugiki.adapt.reader import mean_pool
from tsugiki.base.prefix_cache import CachedRows
from tsugiki.base.suffix import run_states
from tsugiki.train.learner import NAME, Learner


class Scion(Learner):
    """Everything trainable, and how logits follow from cached rows.

    Args:
        adapted: the base.
        grafts: the modules; empty where only states are read.
        classifier: reader and head.
        seed: of fresh modules.
        params: of modules that go on, by `LAYER.SITE.PARAMETER`; empty for fresh ones.
        boundary: from which layers are run; None: the layer of the lowest module.
    """

    def __init__(
        self,
        adapted: AdaptedModel,
        grafts: Sequence[Graft],
        classifier: Classifier,
        seed: int,
        params: Mapping[str, Tensor] | None = None,
        boundary: int | None = None,
    ) -> None:
        super().__init__(adapted, grafts, seed, params)
        self._boundary = boundary
        self.classifier = classifier.requires_grad_(True)

    @property
    def boundary(self) -> int:
        """First layer that is run; where none was given, the first adapted one, or the exit without modules."""
        return self._boundary if self._boundary is not None else min((g.layer for g in self.grafts), default=self.exit)

    @property
    def exit(self) -> int:
        """First layer that is not run."""
        return max(self.classifier.states)

    def forward(self, rows: CachedRows, indices: Sequence[int]) -> Tensor:
        """Logits of some rows, (B, C)."""
        return self._logits(self.features(rows, indices))

    def features(self, rows: CachedRows, indices: Sequence[int]) -> Tensor:
        """What the head reads of some rows, (B, F)."""
        ids, mask = rows.batch(indices)
        if not self.grafts:
            states = torch.stack([rows.state(s, indices) for s in self.classifier.states])
            return self.classifier.read(states, mask)
        above = [s for s in self.classifier.states if s > self.boundary]
        model = self._adapted.model
        entering = rows.state(self.boundary, indices) if self.boundary else None
        with self._adapted.using(self._route(rows, indices, mask)):
            found = run_states(model, self._adapted.anatomy, ids, mask, above, boundary=self.boundary, state=entering)
        # Below the boundary nothing moves, so there the means that the cache keeps are read.
        below = [s for s in self.classifier.states if s <= self.boundary]
        fixed = rows.pooled[list(indices)][:, below].flatten(1).to(mask.device)
        moving = mean_pool(torch.stack([found[s] for s in above]), mask).transpose(0, 1).flatten(1)
        return torch.cat([fixed, moving], 1)

    def run(self, ids: Tensor, mask: Tensor) -> dict[int, Tensor]:
        """The states that are read, of token ids (B, S), without the cache."""
        with self._adapted.using(NAME):
            return run_states(self._adapted.model, self._adapted.anatomy, ids, mask, self.classifier.states)

    def _route(self, rows: CachedRows, indices: Sequence[int], mask: Tensor) -> Asked:  # noqa: ARG002
        """What acts on some rows."""
        return NAME

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classifier(features)
        return logits

    def groups(
        self, learning_rate: float, reader_learning_rate: float, head_learning_rate: float, weight_decay: float
    ) -> list[dict[str, object]]:
        """As of all that learns, and readers with decay, the head without."""
        found = (
            (self.classifier.reader_params.values(), reader_learning_rate, weight_decay),
            ([self.classifier.weight, self.classifier.bias], head_learning_rate, 0.0),
        )
        modules = super().groups(learning_rate, reader_learning_rate, head_learning_rate, weight_decay)
        groups = [{"params": list(params), "lr": rate, "weight_decay": decay} for params, rate, decay in found]
        return [*modules, *(group for group in groups if group["params"])]
