"""No modules at all."""

from typing import Literal

from tsugiki.base.anatomy import Anatomy
from tsugiki.placement.plan import Plan, Strategy


class Head(Strategy):
    """The head alone, on states, on words or on both."""

    kind: Literal["head"] = "head"

    def plans(self, anatomy: Anatomy) -> list[Plan]:
        """None, once the exit is known to be there."""
        self.last(anatomy)
        return []
