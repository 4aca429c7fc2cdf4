"""Columns that look as if they held phone numbers, mail addresses or names of persons.

This goes by how cells and headings look, and is wrong both ways: a number of a part may look like that of a phone, and
a name within a sentence is not found.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from tsugiki.data.checks import Finding
from tsugiki.data.columns import label_column, text_columns
from tsugiki.data.inspection import Inspection, Part, Place, Seen
from tsugiki.data.table import heading

_SHARE = 0.5  # of the cells of a column that shall look like names before it is said
_LEAST_DIGITS = 10
_DASHES = r"\-\u2010-\u2015\u2212\u30fc\uff0d"
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_PHONE = re.compile(
    rf"(?<![\w.{_DASHES}])("
    rf"0\d{{1,4}}\s?[({_DASHES}]\s?\d{{1,4}}\s?[){_DASHES}]\s?\d{{3,4}}"  # 03-1234-5678, 0120(444)222
    rf"|\(0\d{{1,4}}\)\s?\d{{1,4}}[\s{_DASHES}]\d{{3,4}}"  # (03) 1234-5678
    r"|0[5789]0\d{8}"  # 09012345678
    rf"|\+\d{{1,3}}([\s.(){_DASHES}]*\d){{7,12}}"  # +81 3 1234 5678
    r"|(\(\d{3}\)\s?|\d{3}[-.])\d{3}[-.]\d{4}"  # (555) 010-9999
    rf")(?![\w{_DASHES}])"
)
_NAME = re.compile(
    r"[\u3400-\u9fff々]{1,4}[ \u3000][\u3040-\u30ff\u3400-\u9fff々]{1,5}"  # 山田 太郎
    r"|[\u3040-\u30ff\u3400-\u9fff々 ]{2,10}(様|さん|殿|氏)"
    r"|(Mr|Mrs|Ms|Dr)\.? [A-Z].*"
    r"|[A-Z][a-z'-]+( [A-Z]\.?)? [A-Z][a-z'-]+(-[A-Z][a-z]+)?"  # Mary J. Smith
)
_HEADINGS = {
    "mail": re.compile(r"e-?mail|mail|メール", re.IGNORECASE),
    "phone": re.compile(r"\b(tel|phone|mobile|fax)\b|電話|携帯|ファックス", re.IGNORECASE),
    "name": re.compile(
        r"氏名|名前|姓名|担当者|お客様|顧客名|患者|社員|従業員"
        r"|\b((full|first|last|customer|contact|employee|patient)[ _]?name|customer|employee|assignee|author)\b",
        re.IGNORECASE,
    ),
}


class Personal(Inspection):
    """Mail addresses and phone numbers in every column, names where cells or the heading look like them."""

    kind: Literal["personal"] = "personal"

    def look(self, seen: Seen) -> Iterator[Finding]:
        """One warning, with the columns, how many cells look so, and whether the column would be learnt from."""
        entries = tuple(entry for part in seen.parts for entry in _entries(part, seen))
        if entries:
            facts = {"count": len({(entry[0], entry[1]) for entry in entries})}
            yield Finding(
                "warning", "data.personal", facts, ("split", "column", "found", "rows", "used", "first"), entries
            )


def _entries(part: Part, seen: Seen) -> Iterator[tuple[Any, ...]]:
    firsts, second = text_columns(part.table, seen.reading)
    used = {*firsts, second, label_column(part.table, seen.reading.label)}
    for at, column in enumerate(part.table.columns):
        cells = [_plain(cell) for cell in part.table.column(at)]
        for found, rows in _found(column, cells, names=at not in used):
            first = tuple(Place(part.split, part.table.lines[row]) for row in rows[:3])
            yield part.split, heading(column, at), found, len(rows), at in used, first


def _found(column: str, cells: Sequence[str], *, names: bool) -> Iterator[tuple[str, list[int]]]:
    """What the cells look like, and which of them; where only the heading does, all that are not empty."""
    filled = [row for row, cell in enumerate(cells) if cell]
    rows_of = {
        "mail": [row for row in filled if _MAIL.search(cells[row])],
        "phone": [row for row in filled if _has_phone(cells[row])],
        "name": [row for row in filled if _NAME.fullmatch(cells[row])] if names else [],
    }
    if len(rows_of["name"]) < _SHARE * len(filled):
        rows_of["name"] = []
    spoken = unicodedata.normalize("NFKC", column).replace("_", " ")
    for found, rows in rows_of.items():
        named = bool(_HEADINGS[found].search(spoken)) and (names or found != "name")
        if rows or (named and filled):
            yield found, rows or filled


def _has_phone(cell: str) -> bool:
    """Fewer digits than a number with its area code has are a date, or the number of a part."""
    return any(sum(map(str.isdigit, found.group())) >= _LEAST_DIGITS for found in _PHONE.finditer(cell))


def _plain(cell: Any) -> str:
    return "" if cell is None or cell != cell else unicodedata.normalize("NFKC", str(cell)).strip()
