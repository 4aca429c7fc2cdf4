"""Answers beside the rows they are for, as a file of the kind that its name says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tsugiki.data.format import FORMATS, Format, ending
from tsugiki.data.table import Table
from tsugiki.errors import RowsError
from tsugiki.home import write_atomically


def format_of(path: Path, source: Path | None = None) -> Format:
    """How answers are to be written; asked for before there is anything to write.

    Args:
        path: of the answers.
        source: of the rows, which is never written over.

    Raises:
        RowsError: it is the file of the rows, or its name does not say a format that is known.
    """
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise RowsError("rows.same_file", path=path)
    if ending(path) not in FORMATS.names():
        allowed = ", ".join(f".{name}" for name in FORMATS.names())
        raise RowsError("rows.unknown_format", path=path, allowed=allowed)
    return FORMATS.parse({"kind": ending(path)})


def write_answers(path: Path, table: Table, answers: Mapping[str, Sequence[Any]]) -> None:
    """Write all columns of a table and the answers behind them; the file is there whole or not at all.

    Args:
        path: of the file; its ending says the format.
        table: the rows.
        answers: a cell per row, by the name of the column.

    Raises:
        RowsError: its name does not say a format that is known.
    """
    write_atomically(path, format_of(path).write(table.with_columns(answers)), private=False)
