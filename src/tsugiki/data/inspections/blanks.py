"""Labels with blanks around them."""

from collections.abc import Iterator
from typing import Literal

from tsugiki.data.checks import Finding
from tsugiki.data.inspection import Inspection, Seen


class Blanks(Inspection):
    """Such labels are read without the blanks, which is said here so that nobody wonders."""

    kind: Literal["blanks"] = "blanks"

    def look(self, seen: Seen) -> Iterator[Finding]:
        """One note, with the rows."""
        spelled = [label for part in seen.parts for label in part.spelled]
        rows = [row for row, label in enumerate(spelled) if label != label.strip()]
        entries = tuple((seen.places[row], repr(spelled[row])) for row in rows)
        if rows:
            yield Finding("note", "data.blanks_around_labels", {"count": len(rows)}, ("row", "label"), entries)
