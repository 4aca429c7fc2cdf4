"""Modules in the upper layers only."""

from typing import Literal

from tsugiki.base.anatomy import Anatomy
from tsugiki.placement.plan import Plan, Strategy


class Top(Strategy):
    """One suffix; the boundary is two thirds up where none is given."""

    kind: Literal["top"] = "top"

    def plans(self, anatomy: Anatomy) -> list[Plan]:
        """One plan."""
        boundary = self.boundary if self.boundary is not None else 2 * self.last(anatomy) // 3
        return [self.suffix(anatomy, boundary)]
