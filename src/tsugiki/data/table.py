"""Every source becomes a table before it becomes rows, so that columns, labels and faults mean the same everywhere."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

_LONGEST = 30


@dataclass(frozen=True)
class Table:
    """Named columns of cells.

    Args:
        name: what messages call it.
        columns: their names.
        column: cells of the column at a position.
        lines: where each row stands for the user, 1-based.
        encoding: of the file, where it is text.
    """

    name: str
    columns: Sequence[str]
    column: Callable[[int], Sequence[Any]]
    lines: Sequence[int]
    encoding: str | None = None

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Row after row, a cell of each column."""
        return zip(*(self.column(at) for at in range(len(self.columns))), strict=True)

    def with_columns(self, more: Mapping[str, Sequence[Any]]) -> "Table":
        """The table with further columns behind its own; a name that is taken gets a number."""
        names, cells = list(self.columns), list(more.values())
        for name in more:
            taken = (f"{name}_{number}" for number in count(2))
            names.append(name if name not in names else next(free for free in taken if free not in names))
        own = len(self.columns)
        return replace(self, columns=names, column=lambda at: self.column(at) if at < own else cells[at - own])


def records(name: str, found: Sequence[Mapping[str, Any]], lines: Sequence[int], encoding: str | None = None) -> Table:
    """A table of rows that each name their columns; what a row lacks is None."""
    columns = list(dict.fromkeys(key for record in found for key in record))
    return Table(name, columns, lambda at: [record.get(columns[at]) for record in found], lines, encoding)


def headings(columns: Sequence[str]) -> str:
    """Columns short enough for a message."""
    return shown([heading(column, at) for at, column in enumerate(columns)])


def heading(column: str, at: int) -> str:
    """The name of a column; its number, from 1, for a long one, since a file without a header has a text there."""
    return f"#{at + 1}" if len(column) > _LONGEST else column


def shown(names: Sequence[Any]) -> str:
    """A list short enough for a message."""
    first = ", ".join(str(name)[:_LONGEST] for name in names[:8])
    return first + (", …" if len(names) > 8 else "")
