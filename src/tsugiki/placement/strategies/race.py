"""Head, readout and two boundaries, and validation decides."""

import math
from typing import Literal

from tsugiki.adapt.reader import READERS
from tsugiki.base.anatomy import Anatomy
from tsugiki.placement.plan import Plan, Strategy, head_states


class Race(Strategy):
    """Readouts, a suffix over the upper half of the layers and one over the upper third.

    Both suffixes cost the same to answer with, and the longer one can do all that the shorter one can: it comes first,
    and where it does not lead, the other is not tried.
    """

    kind: Literal["race"] = "race"

    def plans(self, anatomy: Anatomy) -> list[Plan]:
        """Cheapest first."""
        exit = self.last(anatomy)
        # Each query pools its own share of the channels.
        reader = READERS.parse({"kind": "readout", "queries": math.gcd(8, anatomy.width)})
        states = head_states(exit)
        readouts = [Plan("readout", states, reader), Plan("readout fresh", states, reader, warm=False)]
        high = self.boundary if self.boundary is not None else 2 * exit // 3
        boundaries = dict.fromkeys((min(high, exit // 2), high))
        return [*readouts, *(self.suffix(anatomy, boundary) for boundary in boundaries)]
