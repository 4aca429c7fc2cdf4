"""Texts to choose by or to report on that are, or nearly are, among those to learn from."""

from collections.abc import Iterator
from typing import Literal

from tsugiki.data.checks import Finding
from tsugiki.data.inspection import Inspection, Seen


class Leaks(Inspection):
    """What is known from training is no test: such rows flatter the score."""

    kind: Literal["leaks"] = "leaks"

    def look(self, seen: Seen) -> Iterator[Finding]:
        """A warning for each split but train, with each row and the one of train that it is like."""
        for part in seen.parts:
            if part.split == "train":
                continue
            found = sorted(_leaks(seen, part.split), key=lambda leak: -leak[2])
            entries = tuple((seen.places[row], seen.places[learnt], likeness) for row, learnt, likeness in found)
            facts = {"split": part.split, "count": len(found), "rows": len(part.rows)}
            if found:
                yield Finding("warning", "data.leaks", facts, ("row", "like", "likeness"), entries)


def _leaks(seen: Seen, split: str) -> list[tuple[int, int, float]]:
    """Row, row of train and likeness: the nearest for each row of a split that is near one of train at all."""
    learnt = {n: row for n, rows in enumerate(seen.distinct) for row in rows[::-1] if seen.places[row].split == "train"}
    own = {n: [row for row in rows if seen.places[row].split == split] for n, rows in enumerate(seen.distinct)}
    nearest = {number: (row, 1.0) for number, row in learnt.items()}
    for pair in sorted(seen.near, key=lambda pair: pair.likeness):
        for number, other in ((pair.first, pair.second), (pair.second, pair.first)):
            if other in learnt and number not in learnt:
                nearest[number] = (learnt[other], round(pair.likeness, 3))
    return [(row, *nearest[number]) for number, rows in own.items() if number in nearest for row in rows]
