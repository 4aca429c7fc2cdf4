"""A route on which each row is the same input under another coalition of players, with their gates frozen."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tsugiki.adapt.bank import Bank
from tsugiki.adapt.gating import Deciding, on_tokens
from tsugiki.adapt.routing import Routing
from tsugiki.auditing.seats import Seat


@dataclass(eq=False)
class Coalitions(Deciding):
    """The route of one batch.

    Args:
        seats: players, attached under their numbers.
        present: which of them are in the coalition of each row, 0 or 1, (B, n).
    """

    seats: Sequence[Seat]
    present: Tensor

    @property
    def names(self) -> set[str]:
        """Adapters that may act."""
        return set(map(str, range(len(self.seats))))

    def changed(self, key: str, bank: Bank, x: Tensor, y: Tensor) -> Tensor:
        """As the contract says."""
        whole = self.present.new_zeros(len(y), len(bank.forms))
        tokens = self.present.new_zeros(len(y), y.shape[1], len(bank.forms))
        for number, seat in enumerate(self.seats):
            module = bank.number(str(number))
            if module is None:
                continue
            if key in seat.by_token:
                tokens[..., module] = self.present[:, number, None] * seat.by_token[key]
            else:
                whole[:, module] = self.present[:, number] * seat.weight
        routing = Routing.weighing(whole)
        y = y if routing.is_null else bank.routed(routing, x, y)
        routing = Routing.weighing(tokens.flatten(0, 1))
        return y if routing.is_null else on_tokens(bank, routing, x, y)


def presence(coalitions: Sequence[Sequence[int]], players: int, device: torch.device) -> Tensor:
    """Which players are in each coalition, (N, n)."""
    found = torch.zeros(len(coalitions), players, device=device)
    for row, coalition in enumerate(coalitions):
        found[row, list(coalition)] = 1.0
    return found
