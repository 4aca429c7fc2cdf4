"""The contract of an inspection: what it is shown and what it finds. Findings name rows by their lines, never texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from tsugiki.data.checks import Finding, check, require_learnable
from tsugiki.data.columns import labels_of
from tsugiki.data.likeness import MOST_TEXTS, near_pairs, plain
from tsugiki.data.reading import Reading
from tsugiki.data.rows import Rows, Splits, labelled
from tsugiki.data.sources import parts_of, table_of
from tsugiki.data.table import Table
from tsugiki.family import Family
from tsugiki.i18n import text as say
from tsugiki.progress import progress
from tsugiki.spec import Spec

_ORDER = ("train", "validation", "test")


class Place(NamedTuple):
    """Where a row stands for the user: its split, and its line in the file or its number in a list."""

    split: str
    line: int

    def __str__(self) -> str:
        return f"{self.split} {self.line}"


class Pair(NamedTuple):
    """Two texts that are nearly the same, by their numbers among the distinct ones."""

    first: int
    second: int
    likeness: float


@dataclass(frozen=True)
class Part:
    """One split.

    Args:
        split: its name.
        table: all of its columns.
        rows: those that would be learnt from.
        at: where each of these stands in the table (0-based).
        spelled: labels as the file has them.
    """

    split: str
    table: Table
    rows: Rows
    at: Sequence[int]
    spelled: Sequence[str]

    @property
    def places(self) -> list[Place]:
        """Of each row."""
        return [Place(self.split, self.table.lines[i]) for i in self.at]


@dataclass(frozen=True)
class Seen:
    """All rows of a source, and what several inspections ask about them, found out once.

    Args:
        parts: one for each split.
        reading: which columns are used.
    """

    parts: tuple[Part, ...]
    reading: Reading

    @property
    def splits(self) -> Splits:
        """The rows as they would be learnt from."""
        return Splits(**{part.split: part.rows for part in self.parts})

    @cached_property
    def places(self) -> list[Place]:
        """Of all rows (N)."""
        return [place for part in self.parts for place in part.places]

    @cached_property
    def texts(self) -> list[str]:
        """Of all rows (N)."""
        return [text for part in self.parts for text in part.rows.texts]

    @cached_property
    def labels(self) -> list[str]:
        """Of all rows (N); several of one row are joined."""
        return [label for part in self.parts for label in part.rows.labels or ()]

    @cached_property
    def equal(self) -> dict[str, list[int]]:
        """Rows by their text, but for its width, case and blanks."""
        rows_of: dict[str, list[int]] = {}
        for row, text in enumerate(self.texts):
            rows_of.setdefault(plain(text), []).append(row)
        return rows_of

    @cached_property
    def distinct(self) -> list[list[int]]:
        """Rows of each distinct text."""
        return list(self.equal.values())

    @cached_property
    def near(self) -> list[Pair]:
        """Pairs of distinct texts that are nearly the same; of more than 20,000, so many spread evenly are compared."""
        texts = list(self.equal)
        some: Sequence[int] = range(len(texts))
        if len(texts) > MOST_TEXTS:
            some = [at * len(texts) // MOST_TEXTS for at in range(MOST_TEXTS)]
        found = near_pairs([texts[number] for number in some])
        return [Pair(some[first], some[second], likeness) for first, second, likeness in found]


class Inspection(Spec):
    """Looks at rows from one side."""

    kind: str

    def look(self, seen: Seen) -> Iterator[Finding]:
        """What a person should know."""
        raise NotImplementedError(type(self).__name__)


INSPECTIONS: Family[Inspection] = Family("tsugiki.data.inspections", Inspection)


def see(source: Any, reading: Reading) -> Seen:
    """Read the rows of a source as training reads them.

    Raises:
        MissingError: the file or the hub's data set is not there, or a folder has no file named after a split.
        RowsError: rows cannot be read, a label is missing, or nothing could be learnt from them.
    """
    tables = {split or "train": table_of(part, reading) for split, part in parts_of(source).items()}
    rows = labelled(tables, reading)
    seen = Seen(tuple(_part(split, tables[split], *rows[split], reading) for split in _ORDER if split in rows), reading)
    require_learnable(seen.splits)
    return seen


def inspect(seen: Seen) -> list[tuple[str, Finding]]:
    """All findings with the inspection they are of: first what the rows are, then what may be wrong with them."""
    found = [("checks", finding) for finding in check(seen.splits)]
    names, rows = INSPECTIONS.names(), len(seen.texts)
    with progress(say("data.bar"), len(names) * rows) as advance:
        for name in names:
            found += [(name, finding) for finding in INSPECTIONS.parse({"kind": name}).look(seen)]
            advance(rows)
    return sorted(found, key=lambda pair: pair[1].level != "note")


def _part(split: str, table: Table, rows: Rows, at: Sequence[int], reading: Reading) -> Part:
    spelled, _ = labels_of(table, reading.label)
    return Part(split, table, rows, at, [spelled[i] for i in at])
