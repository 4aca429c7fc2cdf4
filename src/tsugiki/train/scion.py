"""What one run trains: modules over a boundary, a reader and a head, fed from the prefix cache."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from tsugiki.adapt.adapted import AdaptedModel, Asked, Graft
from tsugiki.adapt.bank import Bank
from tsugiki.adapt.classifier import Classifier
from tsugiki.adapt.reader import mean_pool
from tsugiki.base.prefix_cache import CachedRows
from tsugiki.base.suffix import run_states

NAME = "scion"


class Scion(nn.Module):
    """Everything trainable, and how logits follow from cached rows.

    The base is reached through `AdaptedModel` and is no submodule: nothing here owns or saves a frozen weight.

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
        super().__init__()
        self._boundary = boundary
        self.grafts = tuple(grafts)
        self.classifier = classifier
        self._adapted = adapted
        adapted.attach(NAME, self.grafts, params or None, seed=seed)
        self.banks = nn.ModuleList(adapted.banks[key] for key in sorted({(g.layer, g.site) for g in grafts}))
        for parameter in self.parameters():
            parameter.requires_grad_(True)

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

    def penalty(self) -> Tensor | None:
        """A loss beside that of the task, in the mean over the rows of the last pass, a scalar; None where none is."""
        return None

    def stepped(self, meet: Callable[[Tensor], Tensor]) -> None:
        """Called after each step; `meet` takes the mean of a tensor over all processes."""

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classifier(features)
        return logits

    def set_training(self, dropout: float | None, generator: torch.Generator | None = None) -> None:
        """Switch module dropout on, drawn from `generator`; None switches it off."""
        for bank in self.banks:
            assert isinstance(bank, Bank)
            bank.train(dropout is not None)
            bank.dropout, bank.generator = dropout or 0.0, generator

    def groups(
        self, learning_rate: float, reader_learning_rate: float, head_learning_rate: float, weight_decay: float
    ) -> list[dict[str, object]]:
        """Parameter groups for the optimiser: modules and readers with decay, the head without.

        Modules and readers are zero changes when fresh, so plain decay pulls towards the base.
        """
        found = (
            (self.banks.parameters(), learning_rate, weight_decay),
            (self.classifier.reader_params.values(), reader_learning_rate, weight_decay),
            ([self.classifier.weight, self.classifier.bias], head_learning_rate, 0.0),
        )
        groups = [{"params": list(params), "lr": rate, "weight_decay": decay} for params, rate, decay in found]
        return [group for group in groups if group["params"]]

    def close(self) -> None:
        """Take the modules off the base."""
        self._adapted.remove(NAME)
