"""Head, readout and two boundaries, and validation decides."""

import math
from typing import Literal

from tsugiki.adapt.reader import READERS
from tsugiki.base.anatomy import Anatomy
from tsugiki.placement.plan import Plan, Strategy, head_states


class Race(Strategy):
    """Readouts, a suffix over the upper third of the layers and one over the upper half."""

    kind: Literal["race"] = "race"

    def plans(self, anatomy: Anatomy) -> list[Plan]:
        """Cheapest first."""
        exit = self.last(anatomy)
        # Each query pools its own share of the channels.
        reader = READERS.parse({"kind": "readout", "queries": math.gcd(8, anatomy.width)})
        states = head_states(exit)
        readouts = [Plan("readout", states, reader), Plan("readout fresh", states, reader, warm=False)]
        high = self.boundary if self.boundary is not None else 2 * exit // 3
        boundaries = dict.fromkeys((high, min(high, exit // 2)))
        return [*readouts, *(self.suffix(anatomy, boundary) for boundary in boundaries)]
