"""Texts of one split that are nearly the same."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Literal

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from tsugiki.data.checks import Finding
from tsugiki.data.inspection import Inspection, Pair, Seen
from tsugiki.data.likeness import MOST_TEXTS


class NearDuplicates(Inspection):
    """Groups in which each text is near another; those with several labels come first."""

    kind: Literal["near_duplicates"] = "near_duplicates"

    def look(self, seen: Seen) -> Iterator[Finding]:
        """A warning with the groups, and a note where there were too many texts to compare all."""
        groups = [group for part in seen.parts for group in _groups(seen, part.split)]
        groups.sort(key=lambda group: -len(group[1]))
        entries = tuple(
            (tuple(seen.places[row] for row in rows), " | ".join(labels), likeness) for rows, labels, likeness in groups
        )
        facts = {"groups": len(groups), "rows": sum(len(rows) for rows, _, _ in groups)}
        if groups:
            yield Finding("warning", "data.near_duplicates", facts, ("rows", "label", "likeness"), entries)
        if len(seen.distinct) > MOST_TEXTS:
            yield Finding("note", "data.compared_in_part", {"compared": MOST_TEXTS, "texts": len(seen.distinct)})


def _groups(seen: Seen, split: str) -> list[tuple[list[int], list[str], float]]:
    """Rows, their labels and the least likeness of neighbours, for each group within a split."""
    first = {number: row for number, rows in enumerate(seen.distinct) if (row := _first(seen, rows, split)) is not None}
    pairs = [pair for pair in seen.near if pair.first in first and pair.second in first]
    members: dict[int, set[int]] = defaultdict(set)
    likeness: dict[int, float] = {}
    for pair, group in zip(pairs, _group_of(pairs, len(seen.distinct)), strict=True):
        members[group] |= {first[pair.first], first[pair.second]}
        likeness[group] = min(pair.likeness, likeness.get(group, 1.0))
    labels = {group: sorted({seen.labels[row] for row in rows}) for group, rows in members.items()}
    return [(sorted(rows), labels[group], round(likeness[group], 3)) for group, rows in members.items()]


def _first(seen: Seen, rows: list[int], split: str) -> int | None:
    return next((row for row in rows if seen.places[row].split == split), None)


def _group_of(pairs: list[Pair], size: int) -> list[int]:
    """The connected part of the graph of pairs in which each pair lies."""
    first, second = [pair.first for pair in pairs], [pair.second for pair in pairs]
    graph = sparse.csr_array((np.ones(len(pairs)), (first, second)), shape=(size, size))
    group_of: list[int] = connected_components(graph, directed=False)[1].tolist()
    return [group_of[number] for number in first]
