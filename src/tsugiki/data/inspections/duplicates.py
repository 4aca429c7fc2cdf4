"""Texts that stand in one split more than once."""

from collections.abc import Iterator
from typing import Literal

from tsugiki.data.checks import Finding
from tsugiki.data.inspection import Inspection, Seen


class Duplicates(Inspection):
    """Width, case and blanks do not count; those with several labels come first."""

    kind: Literal["duplicates"] = "duplicates"

    def look(self, seen: Seen) -> Iterator[Finding]:
        """One warning, with the rows of each text."""
        groups = []
        for rows in seen.distinct:
            for part in seen.parts:
                own = [row for row in rows if seen.places[row].split == part.split]
                if len(own) > 1:
                    groups.append((tuple(seen.places[row] for row in own), sorted({seen.labels[row] for row in own})))
        groups.sort(key=lambda group: -len(group[1]))
        entries = tuple((places, " | ".join(labels)) for places, labels in groups)
        facts = {"texts": len(groups), "rows": sum(len(places) for places, _ in groups)}
        if groups:
            yield Finding("warning", "data.duplicates", facts, ("rows", "label"), entries)
