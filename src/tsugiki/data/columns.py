"""From the cells of a table to texts and labels: which columns are meant, and what a cell says."""

import datetime
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from tsugiki.data.labels import SEPARATOR, holds_several, join
from tsugiki.data.reading import Reading
from tsugiki.data.table import Table, headings, shown
from tsugiki.data.texts import pair as paired
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
# What is written for what, looked for only where nothing of the above is there.
SOURCE_NAMES = ("source", "prompt", "input", "instruction", "question", "document", "入力", "原文", "質問")
TARGET_NAMES = ("target", "completion", "output", "response", "answer", "summary", "出力", "応答", "回答", "要約")
_LABELLED = ("classify", "tag", "grade")
# Names of the two texts of a pair.
PAIR_NAMES = (
    *(("premise", "hypothesis"), ("sentence1", "sentence2"), ("text1", "text2"), ("question1", "question2")),
    *(("前提", "仮説"), ("文1", "文2"), ("質問1", "質問2")),
)
REFERENCES = "references"
_JOINT = "\n"


def texts_of(table: Table, reading: Reading) -> list[str]:
    """The text of each row: several columns are joined in their order, without the empty ones; a pair is kept apart.

    Raises:
        RowsError: no or several columns fit, one that is named is not there, or a cell is neither text nor number.
    """
    positions, pair = text_columns(table, reading)
    parts = [_strings(table, at) for at in positions]
    firsts = parts[0] if len(parts) == 1 else _joined(parts)
    if pair is None:
        return firsts
    return [paired(first, second) for first, second in zip(firsts, _strings(table, pair), strict=True)]


def _joined(parts: Sequence[Sequence[str]]) -> list[str]:
    return [_JOINT.join(cell for cell in cells if cell.strip()) for cells in zip(*parts, strict=True)]


def labels_of(table: Table, named: str | None) -> tuple[list[str], bool]:
    """The label of each row, empty for a missing one, and whether a cell is a list of labels.

    Raises:
        RowsError: as for `texts_of`.
    """
    return _labels(table, label_column(table, named))


def text_columns(table: Table, reading: Reading) -> tuple[list[int], int | None]:
    """Positions of the columns that make up the text, and of the second text of pairs; raises as `texts_of` does."""
    named, pair = reading.text, reading.pair
    usual = bool(_fits(table, None, TEXT_NAMES, "--text"))
    # Where labels are wanted, a column `source` may say anything.
    written = reading.task not in {None, *_LABELLED} or _fits(table, None, TARGET_NAMES, "--label")
    names = SOURCE_NAMES if not usual and written else TEXT_NAMES
    if pair is None and not named and not usual:
        plain = [_plain(column) for column in table.columns]
        found = [[plain.index(name) for name in names] for names in PAIR_NAMES if {*names} <= {*plain}]
        if len(found) == 1:
            return found[0][:1], found[0][1]
    whole = ",".join(named)
    if len(named) > 1 and whole in table.columns:
        named = (whole,)  # a column with a comma in its name
    firsts = [_pick(table, name, names, "--text", "rows.no_text") for name in named or (None,)]
    return firsts, None if pair is None else _pick(table, pair, (), "--pair", "rows.no_text")


def label_column(table: Table, named: str | None) -> int:
    """Position of the column of the labels; raises as `labels_of` does."""
    names = LABEL_NAMES if _fits(table, None, LABEL_NAMES, "--label") else TARGET_NAMES
    return _pick(table, named, names, "--label", "rows.no_label")


def domains_of(table: Table, named: str) -> list[str]:
    """The domain of each row, empty for a missing one.

    Raises:
        RowsError: as for `texts_of`.
    """
    (at,) = _fits(table, named, (), "--domains")
    return [cell.strip() for cell in _strings(table, at)]


def references_of(table: Table) -> list[list[str]] | None:
    """Good answers to each row, from a column of lists with that name; None where there is none.

    A row without any, or whose cell is no list, has an empty one.
    """
    if REFERENCES not in table.columns:
        return None
    cells = table.column(table.columns.index(REFERENCES))
    return [
        [str(part) for part in cell if part is not None and str(part).strip()]
        if isinstance(cell, Iterable) and not isinstance(cell, str | bytes | Mapping)
        else []
        for cell in cells
    ]


def labels_if_any(table: Table, named: str | None) -> tuple[list[str], bool] | None:
    """The same where exactly one column fits and holds nothing but texts and numbers, else None.

    Raises:
        RowsError: a column that is named is not there, or holds something else.
    """
    fits = _fits(table, named, LABEL_NAMES, "--label") or _fits(table, named, TARGET_NAMES, "--label")
    if len(fits) != 1:
        return None
    try:
        return _labels(table, fits[0])
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
    plain = [_plain(column) for column in table.columns]
    ours = [i for i, column in enumerate(plain) if column == known[0]]
    return ours or [i for i, column in enumerate(plain) if column in known]


def _plain(column: str) -> str:
    return unicodedata.normalize("NFKC", column).strip().lower()


def _labels(table: Table, at: int) -> tuple[list[str], bool]:
    found, lists = [], False
    for line, value in zip(table.lines, table.column(at), strict=True):
        # Arrays of numpy and sets, too.
        several = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
        lists = lists or several
        cells = [_cell(table, at, line, part).strip() for part in value] if several else []
        for label in cells:
            if holds_several(label):
                column = shown([table.columns[at]])
                raise RowsError("rows.label_separator", path=table.name, line=line, column=column, found=SEPARATOR)
        found.append(join(filter(None, cells)) if several else _cell(table, at, line, value))
    return found, lists


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
