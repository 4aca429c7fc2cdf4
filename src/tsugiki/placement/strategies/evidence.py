"""Modules where evidence and budget put them."""

from typing import Literal

from tsugiki.placement.choice import choose
from tsugiki.placement.ground import Ground
from tsugiki.placement.plan import Informed, Plan


class Evidence(Informed):
    """The cheapest placement that is promised most of what the best one is."""

    kind: Literal["evidence"] = "evidence"

    def plans_on(self, ground: Ground) -> list[Plan]:
        """One plan; none where no module is promised anything."""
        chosen = choose(ground).chosen
        return [chosen.plan] if chosen else []
