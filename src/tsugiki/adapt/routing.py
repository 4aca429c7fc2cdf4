"""Which modules act on which row, and how strongly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from tsugiki.errors import RoutingError

Choice = str | tuple[tuple[str, float], ...] | None
"""What acts on a row: one adapter, several by their weights, or none."""


@dataclass(frozen=True)
class Routing:
    """N active (row, module) pairs, sorted by module. Rows without a pair keep the base's output.

    Args:
        rows: row of each pair, (N,), int64.
        modules: module of each pair, (N,), int64, ascending.
        weights: weight of each pair, (N,).
        num_rows: number of rows R.
        num_modules: number of modules E.
    """

    rows: Tensor
    modules: Tensor
    weights: Tensor
    num_rows: int
    num_modules: int

    @classmethod
    def one_each(cls, modules: Sequence[int | None], num_modules: int) -> "Routing":
        """One module, or none, for each row, with weight 1.

        Raises:
            RoutingError: a module is outside `0 .. num_modules-1`.
        """
        return cls.of([{} if module is None else {module: 1.0} for module in modules], num_modules)

    @classmethod
    def of(cls, weights: Sequence[Mapping[int, float]], num_modules: int) -> "Routing":
        """Any modules for each row, by their weight.

        Raises:
            RoutingError: a module is outside `0 .. num_modules-1`.
        """
        pairs = sorted((module, row) for row, own in enumerate(weights) for module in own)
        for module, _ in (pairs[0], pairs[-1]) if pairs else ():
            if not 0 <= module < num_modules:
                raise RoutingError("routing.no_module", found=module, allowed=f"0..{num_modules - 1}")
        index = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
        given = torch.tensor([weights[row][module] for module, row in pairs])
        return cls(index[:, 1], index[:, 0], given, len(weights), num_modules)

    @classmethod
    def weighing(cls, weights: Tensor) -> "Routing":
        """From the weight of each module on each row, zero where it does not act, (R, E)."""
        modules, rows = weights.T.nonzero(as_tuple=True)
        return cls(rows, modules, weights[rows, modules], *weights.shape)

    @classmethod
    def named(cls, choices: Sequence[Choice], modules: Sequence[str]) -> "Routing":
        """By the names of adapters; one without a module here leaves its rows alone.

        Args:
            choices: for each row (R).
            modules: adapter that owns each module, (E,).
        """
        number = {name: at for at, name in enumerate(modules)}
        pairs = [((c, 1.0),) if isinstance(c, str) else c or () for c in choices]
        return cls.of([{number[n]: w for n, w in own if n in number and w} for own in pairs], len(modules))

    @cached_property
    def _parts(self) -> "dict[tuple[int, ...], Routing]":
        return {}

    @property
    def is_null(self) -> bool:
        """Whether no module acts at all."""
        return self.rows.numel() == 0

    @cached_property
    def by_row(self) -> Tensor | None:
        """Module of each row where each has one, with weight 1, (R,); else None."""
        if len(self.rows) != self.num_rows or not bool((self.weights == 1).all()):
            return None
        order = self.rows.argsort()
        rows = torch.arange(self.num_rows, device=order.device)
        return self.modules[order] if torch.equal(self.rows[order], rows) else None

    @cached_property
    def num_acting(self) -> int:
        """Number of modules that act on some row."""
        return len(torch.unique_consecutive(self.modules))

    def groups(self) -> list[tuple[int, Tensor, Tensor]]:
        """(module, its rows, their weights) for each module that acts."""
        counts = torch.bincount(self.modules, minlength=self.num_modules).tolist()
        rows, weights = self.rows.split(counts), self.weights.split(counts)
        return [(e, rows[e], weights[e]) for e, count in enumerate(counts) if count]

    def dense(self) -> Tensor:
        """Weight of each module on each row, zero where it does not act, (R, E)."""
        found = self.weights.new_zeros(self.num_rows, self.num_modules)
        return found.index_put((self.rows, self.modules), self.weights, accumulate=True)

    def among(self, modules: Sequence[int]) -> "Routing":
        """The pairs of some modules alone, numbered as they stand in the list; kept, since many sites ask alike."""
        found = self._parts.get(tuple(modules))
        if found is None:
            found = self._parts[tuple(modules)] = self._among(modules)
        return found

    def _among(self, modules: Sequence[int]) -> "Routing":
        new = torch.full((self.num_modules,), -1, device=self.modules.device)
        new[list(modules)] = torch.arange(len(modules), device=self.modules.device)
        number = new[self.modules]
        kept = number >= 0
        number, rows, weights = number[kept], self.rows[kept], self.weights[kept]
        order = number.argsort(stable=True)
        return Routing(rows[order], number[order], weights[order], self.num_rows, len(modules))

    def renumbered(self, numbers: Sequence[int | None], num_modules: int) -> "Routing":
        """The same pairs among more modules.

        Args:
            numbers: that each module has there, ascending, (E,); None for one that is not there.
            num_modules: how many there are.
        """
        new = torch.tensor([-1 if number is None else number for number in numbers], device=self.modules.device)
        number = new[self.modules]
        kept = slice(None) if None not in numbers else number >= 0
        return Routing(self.rows[kept], number[kept], self.weights[kept], self.num_rows, num_modules)

    def weighted(self, weights: Tensor) -> "Routing":
        """The same pairs with other weights, (N,)."""
        return replace(self, weights=weights)

    def to(self, device: torch.device) -> "Routing":
        """The same on another device."""
        rows, modules, weights = (tensor.to(device) for tensor in (self.rows, self.modules, self.weights))
        return Routing(rows, modules, weights, self.num_rows, self.num_modules)
