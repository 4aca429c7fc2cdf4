"""Workbooks are read as people have them, and what cannot be read is named with what to do."""

import io
import zipfile

import pytest
from openpyxl import Workbook, load_workbook

from tsugiki.data.answers import write_answers
from tsugiki.data.reading import Reading
from tsugiki.data.rows import Rows, read_splits
from tsugiki.data.table import Table
from tsugiki.errors import MissingError, RowsError

ROWS = [("本文", "分類"), ("油漏れ ①㈱髙", "漏れ"), ("ﾎﾟﾝﾌﾟ停止", "停止")]
READ = Rows(("油漏れ ①㈱髙", "ﾎﾟﾝﾌﾟ停止"), ("漏れ", "停止"))


def book(path, sheets):
    workbook = Workbook()
    workbook.remove(workbook.active)
    for title, rows in sheets.items():
        sheet = workbook.create_sheet(title)
        for row in rows:
            sheet.append(list(row))
    workbook.save(path)
    return path


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("TSUGIKI_LANG", "en")


def fault(path, kind=RowsError, **named):
    with pytest.raises(kind) as caught:
        read_splits(path, Reading.of(**named))
    return caught.value


def test_the_only_sheet_with_rows_is_read(tmp_path):
    assert read_splits(book(tmp_path / "a.xlsx", {"表紙": [], "一覧": ROWS})).train == READ


def test_a_workbook_with_macros_is_read_like_one_without(tmp_path):
    assert read_splits(book(tmp_path / "a.xlsm", {"一覧": ROWS})).train == READ


def test_several_sheets_ask_for_a_choice(tmp_path):
    path = book(tmp_path / "a.xlsx", {"4月": ROWS, "5月": [*ROWS[:1], ("異音", "音")]})
    error = fault(path)
    assert error.code == "rows.choose_sheet" and "4月, 5月" in str(error)
    assert read_splits(path, Reading.of(sheet="5月")).train == Rows(("異音",), ("音",))
    assert fault(path, MissingError, sheet="6月").code == "rows.no_sheet"


def test_empty_rows_between_and_after_are_no_rows_and_lines_are_those_of_the_sheet(tmp_path):
    path = book(tmp_path / "a.xlsx", {"s": [ROWS[0], ROWS[1], (), ROWS[2], ("異音", None), ("", ""), ()]})
    error = fault(path)
    assert error.code == "rows.missing_labels" and error.facts["lines"] == "5"


def test_a_formatted_last_row_does_not_make_a_million_rows(tmp_path):
    path = book(tmp_path / "a.xlsx", {"s": ROWS})
    workbook = load_workbook(path)
    workbook["s"].cell(100_000, 1).number_format = "0.00"
    workbook.save(path)
    assert read_splits(path).train == READ


def test_dates_and_numbers_become_texts(tmp_path):
    import datetime

    path = book(tmp_path / "a.xlsx", {"s": [("text", "label"), (datetime.datetime(2026, 4, 1, 9), 3.0), (12, "x")]})
    assert read_splits(path).train == Rows(("2026-04-01 09:00:00", "12"), ("3", "x"))


def test_a_merged_header_names_its_columns(tmp_path):
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    for row in [("text", "label", None, None), ("oil", "leak", 1, 2)]:
        sheet.append(row)
    sheet.merge_cells("B1:D1")
    workbook.save(tmp_path / "a.xlsx")
    error = fault(tmp_path / "a.xlsx")
    assert error.code == "rows.unnamed_columns" and "C, D" in str(error)


def test_formulas_whose_value_is_not_in_the_file_are_named_by_line(tmp_path):
    path = book(tmp_path / "a.xlsx", {"s": [("text", "label"), ("oil", "leak"), ("=A2", "leak")]})
    error = fault(path)
    assert error.code == "rows.formula_without_value" and error.facts["line"] == 3


def test_a_formula_over_several_cells_is_one_as_well(tmp_path):
    from openpyxl.worksheet.formula import ArrayFormula

    path = book(tmp_path / "a.xlsx", {"s": [("text", "label"), ("oil", "leak"), ("", "leak")]})
    workbook = load_workbook(path)
    workbook["s"]["A3"] = ArrayFormula("A3", "=A2")
    workbook.save(path)
    error = fault(path)
    assert error.code == "rows.formula_without_value" and error.facts["line"] == 3


def test_a_workbook_with_a_password_or_of_the_old_kind_is_not_called_damaged(tmp_path):
    magic = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
    (tmp_path / "a.xlsx").write_bytes(magic + "EncryptedPackage".encode("utf-16-le"))
    (tmp_path / "b.xlsx").write_bytes(magic + "Workbook".encode("utf-16-le"))
    assert fault(tmp_path / "a.xlsx").code == "rows.protected"
    assert fault(tmp_path / "b.xlsx").code == "rows.old_workbook"


def test_a_sheet_that_is_full_is_read_with_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tsugiki.data.formats.xlsx._MOST_ROWS", len(ROWS))
    assert read_splits(book(tmp_path / "a.xlsx", {"一覧": ROWS})).train == READ
    assert "一覧" in caplog.text and f"with {len(ROWS)} rows" in caplog.text


def test_a_sheet_with_room_left_is_read_without_one(tmp_path, caplog):
    read_splits(book(tmp_path / "a.xlsx", {"一覧": ROWS}))
    assert caplog.text == ""


def test_in_japanese_every_fault_of_a_workbook_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TSUGIKI_LANG", "ja")
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
    (tmp_path / "鍵.xlsx").write_bytes(old + "EncryptedPackage".encode("utf-16-le"))
    (tmp_path / "旧.xlsx").write_bytes(old + "Workbook".encode("utf-16-le"))
    (tmp_path / "壊.xlsx").write_bytes(b"text")
    book(tmp_path / "式.xlsx", {"s": [("text", "label"), ("=A2", "leak")]})
    book(tmp_path / "結合.xlsx", {"s": [("text", "label", None), ("oil", "leak", 1)]})
    book(tmp_path / "複数.xlsx", {"4月": ROWS, "5月": ROWS})
    said = {
        "鍵.xlsx": "パスワードを解除して保存し直してください",
        "旧.xlsx": ".xlsx 形式で保存し直してください",
        "壊.xlsx": "やり直してください",
        "式.xlsx": "2 行目: 計算結果が保存されていない数式があります。Excel で開いて上書き保存してください",
        "結合.xlsx": "C 列に値が入っていますが、1 行目に列名がありません",
        "複数.xlsx": "4月, 5月。使うシートを --sheet で 1 つ指定してください",
    }
    for name, words in said.items():
        message = str(fault(tmp_path / name))
        assert name in message and words in message
    assert "--sheet に指定してください" in str(fault(tmp_path / "複数.xlsx", MissingError, sheet="6月"))


def test_another_archive_is_damaged(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "text")
    (tmp_path / "a.xlsx").write_bytes(file.getvalue())
    (tmp_path / "b.xlsx").write_bytes(b"text,label")
    assert fault(tmp_path / "a.xlsx").code == fault(tmp_path / "b.xlsx").code == "rows.damaged"


def test_a_cell_that_begins_like_a_formula_is_a_text_in_the_answers(tmp_path):
    cells = [["=HYPERLINK(1)", "a\x07b"]]
    write_answers(tmp_path / "out.xlsx", Table("t", ("text",), lambda at: cells[at], (1, 2)), {"label": ["x", "y"]})
    sheet = load_workbook(tmp_path / "out.xlsx").active
    assert sheet is not None
    assert [(cell.value, cell.data_type) for cell in sheet["A"][1:]] == [("=HYPERLINK(1)", "s"), ("a\ufffdb", "s")]


def test_a_cell_that_excel_could_not_hold_is_cut_and_counted(tmp_path, caplog):
    cells = [["x" * 40_000]]
    write_answers(tmp_path / "out.xlsx", Table("t", ("text",), lambda at: cells[at], (1,)), {"label": ["x"]})
    assert "32767" in caplog.text.replace(",", "")


def test_answers_never_take_the_name_of_a_column_that_is_there():
    table = Table("t", ("label", "label_2"), lambda at: [at], (1,))
    assert table.with_columns({"label": ["x"]}).columns == ["label", "label_2", "label_3"]


def test_answers_may_be_read_by_whoever_may_read_the_folder(tmp_path):
    write_answers(tmp_path / "new" / "out.csv", Table("t", ("text",), lambda _: ["a"], (1,)), {"label": ["x"]})
    (tmp_path / "plain").touch()
    assert (tmp_path / "new" / "out.csv").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.csv"]


def test_csv_for_excel_has_a_mark_and_runs_no_formula(tmp_path):
    cells = [["=cmd|' /C calc'!A0", "-5", "+1.5", "@SUM(A1)", "＝1", "- belt"]]
    write_answers(
        tmp_path / "out.csv", Table("t", ("text",), lambda at: cells[at], range(1, 7)), {"label": list("abcdef")}
    )
    data = (tmp_path / "out.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf") and data.count(b"\r\n") == 7
    texts = [line.rpartition(",")[0] for line in data.decode("utf-8-sig").split("\r\n")[1:-1]]
    assert texts == ["'=cmd|' /C calc'!A0", "-5", "+1.5", "'@SUM(A1)", "'＝1", "'- belt"]
