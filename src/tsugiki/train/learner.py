"""Modules that learn on a frozen base: what all that is trained over the prefix cache has in common."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.bank import Bank

NAME = "scion"


class Learner(nn.Module):
    """Everything trainable, called with rows of the cache and the numbers of some of them.

    The base is reached through `AdaptedModel` and is no submodule: nothing here owns or saves a frozen weight.

    Args:
        adapted: the base.
        grafts: the modules; empty where only states are read.
        seed: of fresh modules.
        params: of modules that go on, by `LAYER.SITE.PARAMETER`; None for fresh ones.
    """

    def __init__(
        self, adapted: AdaptedModel, grafts: Sequence[Graft], seed: int, params: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.grafts = tuple(grafts)
        self._adapted = adapted
        adapted.attach(NAME, self.grafts, params or None, seed=seed)
        self.banks = nn.ModuleList(adapted.banks[key] for key in sorted({(g.layer, g.site) for g in grafts}))
        for parameter in self.parameters():
            parameter.requires_grad_(True)

    def set_training(self, dropout: float | None, generator: torch.Generator | None = None) -> None:
        """Switch module dropout on, drawn from `generator`; None switches it off."""
        for bank in self.banks:
            assert isinstance(bank, Bank)
            bank.train(dropout is not None)
            bank.dropout, bank.generator = dropout or 0.0, generator

    def penalty(self) -> Tensor | None:
        """A loss beside that of the task, in the mean over the rows of the last pass, a scalar; None where none is."""
        return None

    def stepped(self, meet: Callable[[Tensor], Tensor]) -> None:
        """Called after each step; `meet` takes the mean of a tensor over all processes."""

    def groups(
        self, learning_rate: float, reader_learning_rate: float, head_learning_rate: float, weight_decay: float
    ) -> list[dict[str, object]]:
        """Parameter groups for the optimiser: modules with decay.

        They are zero changes when fresh, so plain decay pulls towards the base.
        """
        del reader_learning_rate, head_learning_rate
        modules = list(self.banks.parameters())
        return [{"params": modules, "lr": learning_rate, "weight_decay": weight_decay}] if modules else []

    def close(self) -> None:
        """Take the modules off the base."""
        self._adapted.remove(NAME)
