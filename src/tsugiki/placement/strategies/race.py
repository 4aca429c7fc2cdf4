"""Head, readout and two boundaries, and validation decides."""

from typing import Literal

from tsugiki.base.anatomy import Anatomy
from tsugiki.placement.plan import Plan, Strategy, readouts


class Race(Strategy):
    """Readouts, a suffix over the upper half of the layers and one over the upper third.

    Both suffixes cost the same to answer with, and the longer one can do all that the shorter one can: it comes first,
    and where it does not lead, the other is not tried.
    """

    kind: Literal["race"] = "race"

    def plans(self, anatomy: Anatomy) -> list[Plan]:
        """Cheapest first."""
        exit = self.last(anatomy)
        high = self.boundary if self.boundary is not None else 2 * exit // 3
        boundaries = dict.fromkeys((min(high, exit // 2), high))
        return [*readouts(anatomy, exit), *(self.suffix(anatomy, boundary) for boundary in boundaries)]
