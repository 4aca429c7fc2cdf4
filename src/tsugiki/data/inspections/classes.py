"""Which classes there are, and how many rows each has."""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from tsugiki.data.checks import Finding
from tsugiki.data.inspection import Inspection, Seen


class Classes(Inspection):
    """A count for each label and split, the largest class first."""

    kind: Literal["classes"] = "classes"

    def look(self, seen: Seen) -> Iterator[Finding]:
        """One note."""
        total = Counter(label for part in seen.parts for label in part.rows.each_label)
        counts = [Counter(part.rows.each_label) for part in seen.parts]
        entries = [(label, *(count[label] for count in counts)) for label, _ in total.most_common()]
        facts = {
            "classes": len(total),
            "rows": len(seen.texts),
            "most": max(total.values(), default=0),
            "least": min(total.values(), default=0),
        }
        yield Finding("note", "data.classes", facts, ("label", *(part.split for part in seen.parts)), tuple(entries))
