"""Modules where evidence and budget put them, against placements of the same cost that chance or habit would take."""

from dataclasses import replace
from typing import Literal

from tsugiki.placement.choice import choose
from tsugiki.placement.controls import controls_of
from tsugiki.placement.ground import Ground
from tsugiki.placement.plan import Informed, Plan, readouts


class Evidence(Informed):
    """The cheapest placement that is promised most of what the best one is, and that best one.

    Readouts are tried before; of the placements and two controls the best goes on after a third of the passes.
    """

    kind: Literal["evidence"] = "evidence"

    def plans_on(self, ground: Ground) -> list[Plan]:
        """Cheapest first; readouts alone where no module is promised anything."""
        choice = choose(ground)
        read = readouts(ground.anatomy, ground.exit or ground.anatomy.num_layers)
        if choice.chosen is None:
            return read
        placed = [option.plan for option in choice.finalists]
        controls = [replace(plan, control=True) for plan in controls_of(choice.chosen, ground, seed=0)]
        return [*read, *(replace(plan, abreast=True) for plan in (*placed, *controls))]
