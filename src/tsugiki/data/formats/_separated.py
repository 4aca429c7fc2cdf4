"""What tables of separated values have in common."""

import csv
import io
from typing import Any, ClassVar

from tsugiki.data.encodings import decode
from tsugiki.data.format import Format
from tsugiki.data.reading import Reading
from tsugiki.data.table import Table
from tsugiki.errors import RowsError
from tsugiki.i18n import notify

# Also in full width, which Japanese Excel takes for the same.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


class Separated(Format):
    """A first line of names, then a row per record; a cell in quotes may hold separators and line ends."""

    # What this format writes, and what else it is found to be separated by.
    separators: ClassVar[tuple[str, ...]]

    def read(self, name: str, data: bytes, reading: Reading) -> Table:
        """The records."""
        text, encoding = decode(name, data, reading.encoding)
        head = text.partition("\n")[0]
        found, lines = _records(name, text, next((s for s in self.separators if s in head), self.separators[0]))
        columns, *body = found or [[]]
        for line, record in zip(lines[1:], body, strict=True):
            if len(record) != len(columns):
                raise RowsError("rows.bad_width", path=name, line=line, found=len(record), allowed=len(columns))
        return Table(name, columns, lambda at: [record[at] for record in body], lines[1:], encoding)

    def write(self, table: Table) -> bytes:
        """UTF-8 with a mark, by which Excel knows it; cells that Excel would take for formulas are made texts."""
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=self.separators[0], lineterminator="\r\n")
        escaped = 0
        for row in (tuple(table.columns), *table.rows()):
            cells = [_harmless(cell) for cell in row]
            escaped += sum(now is not cell for now, cell in zip(cells, row, strict=True))
            writer.writerow(cells)
        if escaped:
            notify("rows.escaped", count=escaped)
        return file.getvalue().encode("utf-8-sig", "replace")


def _harmless(cell: Any) -> Any:
    """A text that a spreadsheet would run as a formula, with an apostrophe before it; numbers stay."""
    if not isinstance(cell, str) or not cell.startswith(_FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _records(name: str, text: str, separator: str) -> tuple[list[list[str]], list[int]]:
    """Records, and the line in which each begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records: list[list[str]] = []
    lines: list[int] = []
    line = 1
    usual = csv.field_size_limit(2**31 - 1)  # the usual 131,072 characters are less than a long report
    try:
        for record in reader:
            lone = bool(records) and len(records[0]) == 1  # a blank line is then a row, of one empty text
            if record or lone:
                records.append(record or [""])
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error:
        raise RowsError("rows.bad_csv", path=name, line=line) from None
    finally:
        csv.field_size_limit(usual)
    return records, lines
