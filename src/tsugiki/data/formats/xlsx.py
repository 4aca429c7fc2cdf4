"""Workbooks of Excel: the values of one sheet."""

import datetime
import io
import zipfile
from collections.abc import Sequence
from typing import Any, Literal

from tsugiki.data.format import Format
from tsugiki.data.reading import Reading
from tsugiki.data.table import Table, shown
from tsugiki.errors import MissingError, RowsError
from tsugiki.i18n import warn

# What Excel keeps in place of a zip archive: workbooks of before 2007, and those with a password.
_OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PROTECTED = "EncryptedPackage".encode("utf-16-le")
_MOST_ROWS, _MOST_CHARACTERS = 1_048_576, 32_767
_NATIVE = (bool, int, float, datetime.date, datetime.time)


class Xlsx(Format):
    """The first row names the columns; formulas count with the values that Excel kept of them."""

    kind: Literal["xlsx"] = "xlsx"

    def read(self, name: str, data: bytes, reading: Reading) -> Table:
        """The rows of a sheet, without the empty ones at its end."""
        _require_workbook(name, data)
        title, rows = _sheet(name, data, reading.sheet)
        if len(rows) >= _MOST_ROWS:
            warn("rows.sheet_full", path=name, sheet=title, rows=_MOST_ROWS)
        header, *body = rows or [()]
        columns = _columns(name, header, body)
        lines = [line for line, row in enumerate(body, start=2) if any(cell is not None for cell in row)]
        if any(row[at] is None for row in body for at in range(len(columns))):
            _require_values(name, data, title, len(columns))

        def column(at: int) -> list[Any]:
            return [body[line - 2][at] for line in lines]

        return Table(name, columns, column, lines)

    def write(self, table: Table) -> bytes:
        """A workbook of one sheet; texts are texts, also where they begin like a formula."""
        from openpyxl import Workbook

        workbook = Workbook(write_only=True)
        sheet = workbook.create_sheet("answers")
        cut = 0
        for row in (tuple(table.columns), *table.rows()):
            cut += sum(isinstance(cell, str) and len(cell) > _MOST_CHARACTERS for cell in row)
            sheet.append([_cell(sheet, cell) for cell in row])
        if cut:
            warn("rows.cut_cells", count=cut, limit=_MOST_CHARACTERS)
        file = io.BytesIO()
        workbook.save(file)
        return file.getvalue()


def _cell(sheet: Any, value: Any) -> Any:
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    if not isinstance(value, str):
        return value if isinstance(value, _NATIVE) or value is None else str(value)
    cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("\ufffd", value)[:_MOST_CHARACTERS])
    cell.data_type = "s"  # else a text that begins with `=` would be a formula
    return cell


def _require_workbook(name: str, data: bytes) -> None:
    if data.startswith(_OLD):
        raise RowsError("rows.protected" if _PROTECTED in data else "rows.old_workbook", path=name)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise RowsError("rows.damaged", path=name)


def _open(name: str, data: bytes, *, values: bool) -> Any:
    from openpyxl import load_workbook

    try:
        return load_workbook(io.BytesIO(data), read_only=True, data_only=values, keep_links=False)
    except Exception as error:
        raise RowsError("rows.damaged", path=name) from error


def _sheet(name: str, data: bytes, wanted: str | None) -> tuple[str, list[tuple[Any, ...]]]:
    """Title and rows of the sheet that is meant, all rows equally wide."""
    workbook = _open(name, data, values=True)
    try:
        sheets = {sheet.title: sheet for sheet in workbook.worksheets}
        if wanted is not None and wanted not in sheets:
            raise MissingError("rows.no_sheet", path=name, found=wanted, allowed=shown(list(sheets)))
        found = {title: _rows(sheets[title]) for title in ([wanted] if wanted is not None else sheets)}
    except (zipfile.BadZipFile, KeyError, SyntaxError) as error:  # SyntaxError: of XML
        raise RowsError("rows.damaged", path=name) from error
    finally:
        workbook.close()
    filled = {title: rows for title, rows in found.items() if rows}
    if len(filled) > 1:
        raise RowsError("rows.choose_sheet", path=name, allowed=shown(list(filled)))
    return next(iter(filled.items()), (wanted or "", []))


def _rows(sheet: Any) -> list[tuple[Any, ...]]:
    sheet.reset_dimensions()  # those that are stored are often wrong
    rows = list(sheet.iter_rows(values_only=True))
    while rows and all(cell is None for cell in rows[-1]):
        rows.pop()
    width = max((at + 1 for row in rows for at, cell in enumerate(row) if cell is not None), default=0)
    return [(*row[:width], *(None,) * (width - len(row))) for row in rows]


def _columns(name: str, header: Sequence[Any], body: Sequence[Sequence[Any]]) -> list[str]:
    """Names of the columns; one without a name that holds something is most likely part of a merged cell."""
    from openpyxl.utils import get_column_letter

    empty = [at for at, title in enumerate(header) if title is None and any(row[at] is not None for row in body)]
    if empty:
        raise RowsError("rows.unnamed_columns", path=name, columns=", ".join(get_column_letter(at + 1) for at in empty))
    return ["" if title is None else str(title) for title in header]


def _require_values(name: str, data: bytes, title: str, width: int) -> None:
    """Refuse formulas of which Excel has kept no value: they look like empty cells."""
    workbook = _open(name, data, values=False)
    try:
        sheet = workbook[title]
        values = _open(name, data, values=True)[title]
        for line, (formulas, found) in enumerate(
            zip(sheet.iter_rows(values_only=True), values.iter_rows(values_only=True), strict=False), start=1
        ):
            for formula, value in list(zip(formulas, found, strict=False))[:width]:
                if value is None and _is_formula(formula):
                    raise RowsError("rows.formula_without_value", path=name, line=line)
    finally:
        workbook.close()


def _is_formula(cell: Any) -> bool:
    from openpyxl.worksheet.formula import ArrayFormula, DataTableFormula

    return isinstance(cell, ArrayFormula | DataTableFormula) or (isinstance(cell, str) and cell.startswith("="))
