"""What every format of rows keeps to; a new file in `data/formats` is tested here without a line more."""

import datetime
from typing import Any

import pytest

from tsugiki.data.format import FORMATS
from tsugiki.data.reading import Reading
from tsugiki.data.table import Table
from tsugiki.errors import RowsError

KINDS = [kind for kind in FORMATS.names() if kind != "xlsm"]
TEXTS = ["油漏れ ①㈱髙", 'say "stop", now', "two\nlines", "=1+1", "-5", "x" * 40_000, "emoji 😀", ""]
kinds = pytest.mark.parametrize("kind", KINDS)


def table():
    cells: list[list[Any]] = [TEXTS, [f"L{i}" for i in range(len(TEXTS))], [i / 4 for i in range(len(TEXTS))]]
    return Table("t", ("text", "label", "probability"), lambda at: cells[at], range(1, len(TEXTS) + 1))


def test_there_are_the_formats_that_are_documented():
    assert {"csv", "json", "jsonl", "parquet", "tsv", "xlsm", "xlsx"} <= set(FORMATS.names())


@kinds
def test_what_is_written_is_read_again(kind):
    form = FORMATS.parse({"kind": kind})
    again = form.read("t", form.write(table()), Reading())
    assert list(again.columns) == ["text", "label", "probability"] and len(again.lines) == len(TEXTS)
    assert list(again.column(1)) == list(table().column(1))
    for now, before in zip(again.column(0), TEXTS, strict=True):
        # Excel keeps 32,767 characters and no difference between an empty cell and none; CSV disarms formulas.
        assert now in (before, f"'{before}", before[:32_767], before or None)


@kinds
def test_a_file_that_is_cut_or_something_else_is_refused_or_has_fewer_rows(kind):
    form = FORMATS.parse({"kind": kind})
    whole = form.write(table())
    for data in (whole[: len(whole) // 2], b"\x00\x01\x02 nothing of the kind \xff" * 9):
        try:
            found = form.read("t", data, Reading())
        except RowsError:
            continue
        assert len(found.lines) < len(TEXTS) or kind in ("csv", "tsv")


@kinds
def test_dates_and_missing_cells_can_be_written(kind):
    cells: list[list[Any]] = [
        ["a", None],
        [datetime.date(2026, 11, 24), None],
        [datetime.datetime(2026, 11, 24, 9, 30), None],
    ]
    dated = Table("t", ("text", "day", "time"), lambda at: cells[at], (1, 2))
    form = FORMATS.parse({"kind": kind})
    assert form.read("t", form.write(dated), Reading()).columns
