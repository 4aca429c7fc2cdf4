"""How long the texts are."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from tsugiki.data.checks import Finding
from tsugiki.data.inspection import Inspection, Seen

_TINY = 3


class Lengths(Inspection):
    """Characters of the texts, and those with hardly any."""

    kind: Literal["lengths"] = "lengths"

    def look(self, seen: Seen) -> Iterator[Finding]:
        """A note, and a warning where texts say next to nothing."""
        lengths = np.array([len(text.strip()) for text in seen.texts])
        names = ("least", "median", "most_of_95", "most")
        numbers = np.quantile(lengths, (0, 0.5, 0.95, 1), method="nearest").astype(int).tolist()
        yield Finding("note", "data.lengths", dict(zip(names, numbers, strict=True)))
        tiny = [(seen.places[row], int(lengths[row])) for row in np.flatnonzero(lengths < _TINY).tolist()]
        if tiny:
            yield Finding("warning", "data.tiny_texts", {"count": len(tiny)}, ("row", "characters"), tuple(tiny))
