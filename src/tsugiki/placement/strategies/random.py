"""Modules at sites drawn by chance, as many and as large as evidence would have them."""

from typing import Literal

from tsugiki.placement.choice import choose
from tsugiki.placement.controls import random_like
from tsugiki.placement.ground import Ground
from tsugiki.placement.plan import Informed, Plan


class Random(Informed):
    """What chance does with the same means.

    Args:
        seed: of the drawing.
    """

    kind: Literal["random"] = "random"
    seed: int = 0

    def plans_on(self, ground: Ground) -> list[Plan]:
        """One plan; none where no module is promised anything."""
        chosen = choose(ground).chosen
        return [random_like(chosen.plan, ground, self.seed)] if chosen else []
