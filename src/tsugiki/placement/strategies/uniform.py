"""The same modules in every layer."""

from typing import Literal

from tsugiki.base.anatomy import Anatomy
from tsugiki.placement.plan import Plan, Strategy


class Uniform(Strategy):
    """All layers from the boundary up; the boundary is 0 where none is given, so that nothing is cached."""

    kind: Literal["uniform"] = "uniform"

    def plans(self, anatomy: Anatomy) -> list[Plan]:
        """One plan."""
        return [self.suffix(anatomy, self.boundary or 0)]
