"""A route on which each row is the same input under another coalition of players, with their gates frozen."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tsugiki.adapt.bank import Bank
from tsugiki.adapt.gating import Deciding
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
        for always in (True, False):
            routing = Routing.weighing(self._whole(key, bank, always))
            y = y if routing.is_null else bank.routed(routing, x, y)
        if not any(key in seat.by_token for seat in self.seats):
            return y
        tokens = self.present.new_zeros(len(y), y.shape[1], len(bank.forms))
        for number, seat in enumerate(self.seats):
            module = bank.number(str(number))
            if module is not None and key in seat.by_token:
                tokens[..., module] = self.present[:, number, None] * seat.by_token[key]
        return bank.weighed([*range(len(bank.forms))], tokens, x, y)

    def _whole(self, key: str, bank: Bank, always: bool) -> Tensor:
        """Weights of modules that act on all tokens alike, those that always act or the others, (B, modules)."""
        found = self.present.new_zeros(len(self.present), len(bank.forms))
        for number, seat in enumerate(self.seats):
            module = bank.number(str(number))
            if module is not None and key not in seat.by_token and seat.always == always:
                found[:, module] = self.present[:, number] * seat.weight
        return found


def presence(coalitions: Sequence[Sequence[int]], players: int, device: torch.device) -> Tensor:
    """Which players are in each coalition, (N, n)."""
    found = torch.zeros(len(coalitions), players, device=device)
    for row, coalition in enumerate(coalitions):
        found[row, list(coalition)] = 1.0
    return found
