"""Rows whose label is likely wrong."""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from tsugiki.data.checks import Finding
from tsugiki.data.inspection import Inspection, Seen
from tsugiki.data.likeness import plain
from tsugiki.data.suspects import LEAST_ROWS, suspects


class LabelErrors(Inspection):
    """The words of the other rows speak for another label, and clearly so."""

    kind: Literal["label_errors"] = "label_errors"

    def look(self, seen: Seen) -> Iterator[Finding]:
        """One warning: each row with the label that it has and the one that is suggested, the likeliest first."""
        if seen.parts[0].rows.several:  # of which words are no judge label by label
            return
        large = sum(count >= LEAST_ROWS for count in Counter(seen.labels).values())
        if large < 2:
            return
        found = suspects(seen.texts, seen.labels, [plain(text) for text in seen.texts])
        entries = tuple(
            (seen.places[row], seen.labels[row], label, round(probability, 3))
            for row, label, probability in zip(found.rows, found.suggested, found.probability, strict=True)
        )
        facts = {"count": len(entries), "rows": len(seen.texts), "accuracy": 100 * found.accuracy}
        if entries:
            yield Finding("warning", "data.label_errors", facts, ("row", "label", "suggested", "probability"), entries)
