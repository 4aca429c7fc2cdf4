"""What decides a routing."""

from collections.abc import Sequence
from typing import Protocol

from tsugiki.adapt.routing import Routing


class Gate(Protocol):
    """Turns what is known of a batch into a routing over the modules of one bank."""

    def route(self, names: Sequence[str | None], modules: Sequence[str]) -> Routing:
        """Route a batch.

        Args:
            names: adapter of each row, None for the base alone, (B,).
            modules: adapter that owns each module of the bank, (E,).
        """


class TaskGate:
    """The caller names the adapter; an adapter without a module in the bank leaves its rows alone."""

    def route(self, names: Sequence[str | None], modules: Sequence[str]) -> Routing:
        """One module for each row whose adapter has one here."""
        index = {name: number for number, name in enumerate(modules)}
        return Routing.one_each([None if n is None else index.get(n) for n in names], len(modules))
