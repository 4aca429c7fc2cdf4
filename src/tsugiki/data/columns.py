"""From the cells of a table to texts and labels: which columns are meant, and what a cell says."""

import datetime
import unicodedata
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from tsugiki.data.table import Table, headings
from tsugiki.data.texts import readable
from tsugiki.errors import RowsError

# The first name of each list is ours and wins; the others are guesses, and two guesses that fit are one too many.
TEXT_NAMES = (
    *("text", "sentence", "content", "message", "utterance", "query", "body", "description"),
    *("本文", "テキスト", "内容", "文章", "文"),
)
LABEL_NAMES = (
    *("label", "class", "category", "intent", "target"),
    *("ラベル", "分類", "カテゴリ", "カテゴリー", "クラス"),
)
_JOINT = "\n"


def texts_of(table: Table, named: Sequence[str]) -> list[str]:
    """The text of each row; several columns are joined in their order, without the empty ones.

    Raises:
        RowsError: no or several columns fit, one that is named is not there, or a cell is neither text nor number.
    """
    parts = [_strings(table, at) for at in text_columns(table, named)]
    if len(parts) == 1:
        return parts[0]
    return [_JOINT.join(cell for cell in cells if cell.strip()) for cells in zip(*parts, strict=True)]


def labels_of(table: Table, named: str | None) -> list[str]:
    """The label of each row, empty for a missing one.

    Raises:
        RowsError: as for `texts_of`.
    """
    return _strings(table, label_column(table, named))


def text_columns(table: Table, named: Sequence[str]) -> list[int]:
    """Positions of the columns that make up the text; raises as `texts_of` does."""
    whole = ",".join(named)
    if len(named) > 1 and whole in table.columns:
        named = (whole,)  # a column with a comma in its name
    return [_pick(table, name, TEXT_NAMES, "--text", "rows.no_text") for name in named or (None,)]


def label_column(table: Table, named: str | None) -> int:
    """Position of the column of the labels; raises as `labels_of` does."""
    return _pick(table, named, LABEL_NAMES, "--label", "rows.no_label")


def labels_if_any(table: Table, named: str | None) -> list[str] | None:
    """The same where exactly one column fits and holds nothing but texts and numbers, else None.

    Raises:
        RowsError: a column that is named is not there, or holds something else.
    """
    fits = _fits(table, named, LABEL_NAMES, "--label")
    if len(fits) != 1:
        return None
    try:
        return _strings(table, fits[0])
    except RowsError:  # a column that only looked like labels stops nobody who asks for answers
        if named is not None:
            raise
        return None


def _pick(table: Table, named: str | None, known: Sequence[str], option: str, none_fits: str) -> int:
    """Position of the one column meant."""
    fits = _fits(table, named, known, option)
    if not fits:
        raise RowsError(none_fits, path=table.name, columns=headings(table.columns))
    if len(fits) > 1:
        columns = headings([table.columns[i] for i in fits])
        raise RowsError("rows.ambiguous_column", path=table.name, columns=columns, option=option)
    return fits[0]


def _fits(table: Table, named: str | None, known: Sequence[str], option: str) -> list[int]:
    """Positions of the columns that may be meant."""
    if named is not None:
        fits = [i for i, column in enumerate(table.columns) if column == named]
        if not fits:
            columns = headings(table.columns)
            raise RowsError("rows.no_such_column", path=table.name, found=named, columns=columns, option=option)
        return fits
    plain = [unicodedata.normalize("NFKC", column).strip().lower() for column in table.columns]
    ours = [i for i, column in enumerate(plain) if column == known[0]]
    return ours or [i for i, column in enumerate(plain) if column in known]


def _strings(table: Table, at: int) -> list[str]:
    return [_cell(table, at, line, value) for line, value in zip(table.lines, table.column(at), strict=True)]


def _cell(table: Table, at: int, line: int, value: Any) -> str:
    """One cell as a string; empty for a missing one."""
    if isinstance(value, str):
        return readable(value)
    if value is None or (isinstance(value, Real) and value != value):
        return ""
    if isinstance(value, Real) and not isinstance(value, Integral) and float(value).is_integer():
        return str(int(float(value)))  # a column of integers with a gap reaches us as floats
    if isinstance(value, Real):  # also numpy's numbers
        return str(value)
    if isinstance(value, datetime.date | datetime.time):  # as a workbook holds them
        return value.isoformat(" ") if isinstance(value, datetime.datetime) else value.isoformat()
    column = headings([table.columns[at]])
    raise RowsError("rows.bad_cell", path=table.name, line=line, column=column, found=type(value).__name__)
