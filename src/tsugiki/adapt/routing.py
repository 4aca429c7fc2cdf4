"""Which module acts on which row, and how strongly."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tsugiki.errors import RoutingError


@dataclass(frozen=True)
class Routing:
    """N active (row, module) pairs, sorted by module. Rows without a pair keep the base's output.

    Args:
        rows: row of each pair, (N,), int64.
        modules: module of each pair, (N,), int64, ascending.
        weights: weight of each pair, (N,).
        num_rows: number of rows T.
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
        for module in modules:
            if module is not None and not 0 <= module < num_modules:
                raise RoutingError("routing.no_module", found=module, allowed=f"0..{num_modules - 1}")
        pairs = sorted((m, row) for row, m in enumerate(modules) if m is not None)
        index = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
        return cls(index[:, 1], index[:, 0], torch.ones(len(pairs)), len(modules), num_modules)

    @property
    def is_null(self) -> bool:
        """Whether no module acts at all."""
        return self.rows.numel() == 0

    def groups(self) -> list[tuple[int, Tensor, Tensor]]:
        """(module, its rows, their weights) for each module that acts."""
        counts = torch.bincount(self.modules, minlength=self.num_modules).tolist()
        rows, weights = self.rows.split(counts), self.weights.split(counts)
        return [(e, rows[e], weights[e]) for e, count in enumerate(counts) if count]
