"""Rows are read the same from every source, and every fault is named with its place."""

import gzip
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki import i18n
from tsugiki.data.reading import Reading
from tsugiki.data.rows import Rows, Splits, read_splits, read_table, unlabelled
from tsugiki.data.texts import clip
from tsugiki.errors import MissingError, RowsError, TsugikiError

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PAIRS = [("oil leak", "leak"), ("油漏れ", "leak"), ('the "pump", stopped', "stop")]
ROWS = Rows(tuple(text for text, _ in PAIRS), tuple(label for _, label in PAIRS))
DICTS = [{"text": text, "label": label} for text, label in PAIRS]
FRAME = pd.DataFrame(DICTS)


def fault(code: str, call: Callable[[], object]) -> TsugikiError:
    """The error of `call`, which says something in every language."""
    with pytest.raises(TsugikiError) as caught:
        call()
    error = caught.value
    assert error.code == code
    for language in i18n.languages():
        i18n.use_language(language)
        assert str(error)
    i18n.use_language(None)
    return error


def to_answer(source: Any, split: str | None = None, reading: Reading | None = None) -> Rows:
    return unlabelled(read_table(source, split, reading), reading or Reading())


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def jsonl(rows: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


FILES: dict[str, Callable[[Path], object]] = {
    "rows.jsonl": lambda path: path.write_text(jsonl(DICTS), encoding="utf-8"),
    "rows.jsonl.gz": lambda path: path.write_bytes(gzip.compress(jsonl(DICTS).encode())),
    "rows.json": lambda path: path.write_text(json.dumps(DICTS), encoding="utf-8"),
    "rows.csv": lambda path: FRAME.to_csv(path, index=False),
    "rows.CSV": lambda path: FRAME.to_csv(path, index=False, lineterminator="\r\n", encoding="utf-8-sig"),
    "rows.tsv": lambda path: FRAME.to_csv(path, index=False, sep="\t"),
    "rows.parquet": lambda path: FRAME.to_parquet(path),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_yields_the_same_rows_as_train(name, tmp_path):
    FILES[name](tmp_path / name)
    assert read_splits(tmp_path / name) == Splits(train=ROWS)
    assert to_answer(str(tmp_path / name)) == ROWS


@pytest.mark.parametrize("source", [FRAME, DICTS, PAIRS, tuple(PAIRS), FRAME.set_index("label", drop=False)])
def test_objects_in_memory_yield_the_same_rows(source):
    assert read_splits(source) == Splits(train=ROWS)


def test_a_data_set_of_the_datasets_library_yields_the_same_rows_with_class_names():
    datasets = pytest.importorskip("datasets")
    plain = datasets.Dataset.from_list(DICTS)
    coded = plain.cast_column("label", datasets.ClassLabel(names=["leak", "stop"]))
    assert read_splits(coded) == Splits(train=ROWS)
    assert read_splits(coded.select([2, 0])).train == ROWS.take([2, 0])
    both = datasets.DatasetDict({"train": plain, "dev": coded, "unsupervised": plain})
    assert read_splits(both) == Splits(train=ROWS, validation=ROWS)


def test_a_folder_yields_its_splits_under_any_of_their_names(tmp_path):
    written(tmp_path / "train.jsonl", jsonl(DICTS))
    written(tmp_path / "dev.csv", "text,label\na,b\n")
    written(tmp_path / "test.jsonl.gz", gzip.compress(jsonl(DICTS[:1]).encode()))
    written(tmp_path / "labels.json", "[]")
    assert read_splits(tmp_path) == Splits(ROWS, Rows(("a",), ("b",)), ROWS.take([0]))
    assert to_answer(tmp_path, "test") == ROWS.take([0])


def test_a_mapping_of_splits_may_mix_kinds_of_sources(tmp_path):
    path = written(tmp_path / "a.jsonl", jsonl(DICTS))
    assert read_splits({"train": str(path), "val": PAIRS, "test": FRAME}) == Splits(ROWS, ROWS, ROWS)


def test_a_source_of_one_table_is_taken_whatever_the_split():
    assert to_answer(FRAME, "test") == ROWS


def test_lines_of_standard_input_are_texts_and_blank_ones_keep_their_place(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO("\ufeffa\r\n\n油漏れ\u2028x\n".encode())))
    assert to_answer("-") == Rows(("a", "", "油漏れ\u2028x"))


def test_empty_standard_input_has_no_rows(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
    assert to_answer("-") == Rows(())


@pytest.mark.parametrize(
    ("text", "label"), [("Text ", "LABEL"), ("本文", "分類"), ("テキスト", "ﾗﾍﾞﾙ"), ("utterance", "intent")]
)
def test_columns_are_found_by_name_whatever_case_width_or_language(text, label):
    frame = FRAME.rename(columns={"text": text, "label": label}).assign(id=1)
    assert read_splits(frame).train == ROWS


def test_our_own_column_names_win_over_others_that_fit():
    assert read_splits(FRAME.assign(description="x", target="y")).train == ROWS


def test_what_is_written_for_what_is_found_where_both_are_there_or_the_task_says_so():
    frame = FRAME.rename(columns={"text": "source", "label": "completion"})
    assert read_splits(frame).train == ROWS
    assert read_splits(FRAME.rename(columns={"text": "入力", "label": "出力"})).train == ROWS
    # A source of tickets is no text of them.
    lone = FRAME.rename(columns={"text": "source"})
    fault("rows.no_text", lambda: read_splits(lone))
    written = read_splits(lone, Reading(task="generate")).train
    assert written is not None and written.texts == ROWS.texts


def test_columns_may_be_named():
    frame = pd.DataFrame({"text": "no", "note": ROWS.texts, "code": ROWS.labels, "label": "no"})
    assert read_splits(frame, Reading.of(text="note", label="code")).train == ROWS


def test_several_columns_are_joined_in_the_order_that_is_given():
    frame = pd.DataFrame({"machine": ["P1", None], "symptom": ["oil", "noise"], "label": ["a", "b"]})
    assert read_splits(frame, Reading.of(text="symptom, machine")).train == Rows(("oil\nP1", "noise"), ("a", "b"))
    fault("rows.no_such_column", lambda: read_splits(frame, Reading.of(text="symptom,maker")))


def test_a_column_with_a_comma_in_its_name_may_be_named():
    frame = pd.DataFrame({"a,b": ["oil", "noise"], "a": ["x", "y"], "label": ["a", "b"]})
    assert read_splits(frame, Reading.of(text="a,b")).train == Rows(("oil", "noise"), ("a", "b"))


def test_numbers_become_strings_and_keep_no_decimals_they_never_had():
    frame = pd.DataFrame({"text": ["a", "b", None], "label": [1, 2, None]})  # pandas makes floats of these
    assert read_splits(frame).train == Rows(("a", "b"), ("1", "2"))
    assert read_splits([("a", 0), ("b", True), (3, 0.5)]).train == Rows(("a", "b", "3"), ("0", "True", "0.5"))
    numbers = np.asarray([3, 4], dtype=np.int64)
    assert read_splits(list(zip(["a", "b"], numbers, strict=True))).train == Rows(("a", "b"), ("3", "4"))


def test_words_that_pandas_takes_for_missing_are_texts_in_a_csv(tmp_path):
    path = written(tmp_path / "a.csv", "text,label\nNA,null\nnan,None\n")
    assert read_splits(path).train == Rows(("NA", "nan"), ("null", "None"))


def test_labels_lose_the_space_around_them_and_where_that_joins_two_it_is_said(caplog):
    assert read_splits([("a", " x "), ("b", "x")]).train == Rows(("a", "b"), ("x", "x"))
    assert "' x '" in caplog.text and "1 row" in caplog.text
    caplog.clear()
    assert read_splits([("a", " x"), ("b", " y")]).train == Rows(("a", "b"), ("x", "y"))
    assert not caplog.records


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    path = written(
        tmp_path / "a.jsonl", '{"text": "cut \\ud83d", "label": "a"}\n{"text": "\\ud83d\\ude00", "label": "b"}'
    )
    assert read_splits(path).train == Rows(("cut \ufffd", "😀"), ("a", "b"))


def test_rows_without_a_text_are_left_out_of_train_with_a_warning(tmp_path, caplog):
    path = written(
        tmp_path / "a.jsonl", jsonl([{"text": " \t", "label": "a"}, {"text": "b", "label": "b"}, {"label": ""}])
    )
    assert read_splits(path).train == Rows(("b",), ("b",))
    assert len(caplog.records) == 1
    assert "2" in caplog.text
    assert "1, 3" in caplog.text


def test_rows_without_a_text_keep_their_place_in_prediction(caplog):
    assert to_answer([{"text": "a"}, {"text": None}, {}, {"text": "b"}]).texts == ("a", "", "", "b")
    assert to_answer(["a", "", "b"]) == Rows(("a", "", "b"))
    assert not caplog.records


def test_labels_come_along_in_prediction_only_where_they_are_certain():
    assert to_answer([("a", "x"), ("b", None)]).labels is None
    assert to_answer([{"text": "a", "class": 1, "target": 2}]).labels is None
    assert to_answer([{"text": "a", "category": {"b": 1}}]).labels is None
    fault("rows.bad_cell", lambda: to_answer([{"text": "a", "category": {"b": 1}}], None, Reading.of(label="category")))
    assert to_answer([{"text": "a", "category": ["b"]}], None, Reading.of(task="classify")).labels is None
    assert to_answer([{"text": "a", "class": 1, "target": 2}], None, Reading.of(label="target")).labels == ("2",)


def test_nothing_to_answer_is_no_fault_in_prediction(tmp_path):
    assert len(to_answer([])) == 0
    assert len(to_answer(written(tmp_path / "a.csv", "text,label\n"))) == 0


@pytest.mark.parametrize("content", ["", "\n", "text,label\n", "text,label\n ,a\n"])
def test_a_file_without_texts_is_refused_for_learning(content, tmp_path):
    path = written(tmp_path / "a.csv", content)
    assert str(path) in str(fault("rows.empty", lambda: read_splits(path)))


def test_missing_labels_are_named_by_their_lines(tmp_path):
    path = written(tmp_path / "a.csv", 'text,label\n"one\ntwo",a\nb,\nc,  \n')
    error = fault("rows.missing_labels", lambda: read_splits(path))
    assert error.facts == {"path": str(path), "count": 2, "lines": "4, 5"}


@pytest.mark.parametrize(
    ("code", "columns", "options"),
    [
        ("rows.no_text", ["note", "label"], {}),
        ("rows.no_label", ["text", "code"], {}),
        ("rows.ambiguous_column", ["label", "sentence", "message"], {}),
        ("rows.ambiguous_column", ["text", "class", "intent"], {}),
        ("rows.ambiguous_column", ["text", "label", "label"], {}),
        ("rows.no_such_column", ["text", "label"], {"label": "lable"}),
        ("rows.no_such_column", ["text", "label"], {"text": "Text"}),
    ],
)
def test_columns_that_cannot_be_told_are_listed_with_the_option_to_use(code, columns, options):
    frame = pd.DataFrame([["x"] * len(columns)], columns=columns)
    message = str(fault(code, lambda: read_splits(frame, Reading.of(**options))))
    assert columns[-1] in message
    assert "--" in message


def test_a_file_without_a_header_shows_only_the_start_of_its_first_row(tmp_path):
    path = written(tmp_path / "a.csv", f"{'secret ' * 20},a\nb,c\n")
    assert len(str(fault("rows.no_text", lambda: read_splits(path)))) < len(str(path)) + 200


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.json"])
def test_bytes_of_no_known_encoding_are_named_by_line_and_offset(name, tmp_path):
    path = written(tmp_path / name, b"ok\n" + "café, déjà".encode("cp1252"))
    assert fault("rows.not_utf8", lambda: read_splits(path)).facts == {"path": str(path), "line": 2, "byte": 6}


@pytest.mark.parametrize("line", ["{", "[1]", "null", '{"text": 1' + "0" * 5000 + "}", "[" * 100_000])
def test_a_line_that_is_no_json_object_is_named(line, tmp_path):
    path = written(tmp_path / "a.jsonl", f'{{"text": "a", "label": "b"}}\n\n{line}\n')
    assert fault("rows.bad_json", lambda: read_splits(path)).facts["line"] == 3


def test_a_json_file_must_be_a_list_of_objects(tmp_path):
    fault("rows.not_a_list", lambda: read_splits(written(tmp_path / "a.json", '{"text": "a"}')))
    fault("rows.not_a_list", lambda: read_splits(written(tmp_path / "b.json", '["a"]')))
    assert fault("rows.bad_json", lambda: read_splits(written(tmp_path / "c.json", "[\n{]"))).facts["line"] == 2


def test_a_csv_with_an_open_quote_or_a_cell_too_many_is_named_by_line(tmp_path):
    opened = written(tmp_path / "a.csv", 'text,label\na,b\n"c,d\ne,f\n')
    assert fault("rows.bad_csv", lambda: read_splits(opened)).facts["line"] == 3
    wide = written(tmp_path / "b.csv", "text,label\n\na,b\nc,d,e\n")
    assert fault("rows.bad_width", lambda: read_splits(wide)).facts == {
        "path": str(wide), "line": 4, "found": 3, "allowed": 2
    }  # fmt: skip


def test_blank_lines_are_rows_only_in_a_csv_of_one_column(tmp_path):
    assert to_answer(written(tmp_path / "a.csv", "text\na\n\nb\n")).texts == ("a", "", "b")
    assert to_answer(written(tmp_path / "b.csv", "text,id\na,1\n\nb,2\n")).texts == ("a", "b")


def test_a_cell_that_is_an_array_is_named():
    frame = pd.DataFrame({"text": [np.zeros(3)], "label": ["a"]})
    assert fault("rows.bad_cell", lambda: read_splits(frame)).facts["found"] == "ndarray"


@pytest.mark.parametrize(("column", "value"), [("text", ["a"]), ("label", {"a": 1}), ("label", [{"a": 1}])])
def test_a_cell_that_is_no_text_is_named(column, value, tmp_path):
    row = {"text": "a", "label": "b"}
    path = written(tmp_path / "a.jsonl", jsonl([row, row | {column: value}]))
    error = fault("rows.bad_cell", lambda: read_splits(path))
    value = value[0] if column == "label" and isinstance(value, list) else value
    assert error.facts == {"path": str(path), "line": 2, "column": column, "found": type(value).__name__}


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.parquet"])
def test_a_damaged_file_is_refused(name, tmp_path):
    whole = tmp_path / name
    FILES[name.replace("a.", "rows.")](whole)
    cut = written(tmp_path / f"cut-{name}", whole.read_bytes()[:-20])
    fault("rows.damaged", lambda: read_splits(cut))
    fault("rows.damaged", lambda: read_splits(written(cut, b"no such thing")))


def test_a_parquet_file_with_bytes_that_are_not_utf8_is_refused(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    ends, content = pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\x96\xfb")
    cells = pa.Array.from_buffers(pa.string(), 1, [None, ends, content])
    parquet.write_table(pa.table({"text": cells, "label": ["a"]}), tmp_path / "a.parquet")
    fault("rows.damaged", lambda: read_splits(tmp_path / "a.parquet"))


def test_formats_and_objects_that_hold_no_rows_are_refused(tmp_path):
    fault("rows.unknown_format", lambda: read_splits(written(tmp_path / "a.docx", "")))
    fault("rows.unknown_source", lambda: read_splits(7))
    fault("rows.unknown_source", lambda: read_splits({"train": iter(PAIRS)}))
    assert fault("rows.bad_item", lambda: read_splits([("a", "b"), "ab"])).facts["line"] == 2
    fault("rows.bad_item", lambda: read_splits([("a", "b", "c")]))


def test_a_path_that_is_not_there_is_missing(tmp_path):
    assert isinstance(fault("rows.no_file", lambda: read_splits(tmp_path / "none.jsonl")), MissingError)
    fault("rows.no_file", lambda: read_splits("none.csv"))
    fault("rows.no_file", lambda: read_splits(tmp_path / "none"))
    fault("rows.no_file", lambda: read_splits({"train": "none.csv"}))
    fault("rows.no_file", lambda: read_splits("a whole text, given for a path " * 50))


def test_a_folder_must_name_its_splits_once(tmp_path):
    written(tmp_path / "rows.jsonl", "")
    assert "rows.jsonl" in str(fault("rows.no_splits", lambda: read_splits(tmp_path)))
    fault("rows.no_splits", lambda: read_splits({"text": ["a"]}))
    written(tmp_path / "val.jsonl", "")
    written(tmp_path / "validation.csv", "")
    fault("rows.two_files", lambda: read_splits(tmp_path))


def test_a_split_must_be_chosen_and_must_be_there():
    fault("rows.choose_split", lambda: to_answer({"train": PAIRS, "test": PAIRS}))
    assert isinstance(fault("rows.no_split", lambda: to_answer({"train": PAIRS}, "test")), MissingError)
    assert to_answer({"test": PAIRS}) == ROWS


@pytest.fixture
def willing_hub(monkeypatch):
    """One that refuses nothing; tests/hub asks one that does."""
    for asking in ("refusal", "require_given"):
        monkeypatch.setattr(f"tsugiki.data.sources.{asking}", lambda name, kind: None)


def test_a_name_that_is_no_path_is_asked_of_the_hub(monkeypatch, willing_hub):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"train": [(name, "a")]})
    assert read_splits("someone/some-set").train == Rows(("someone/some-set",), ("a",))


def test_a_hub_that_cannot_be_reached_is_named_as_the_reason(monkeypatch, willing_hub):
    datasets = pytest.importorskip("datasets")

    def unreachable(name: str) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    error = fault("rows.no_hub", lambda: read_splits("someone/some-set"))
    assert isinstance(error, MissingError)
    assert "no route" in str(error)


def test_a_million_characters_are_one_text(tmp_path):
    book = "word " * 200_000
    for name, content in (("a.csv", f"text,label\n{book},a\n"), ("a.jsonl", jsonl([{"text": book, "label": "a"}]))):
        assert read_splits(written(tmp_path / name, content)).train == Rows((book,), ("a",))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_200_000_rows_are_read_in_seconds(name, tmp_path):
    frame = pd.DataFrame(
        {"text": [f"row {i} says 油漏れ" for i in range(200_000)], "label": [i % 9 for i in range(200_000)]}
    )
    path = tmp_path / name
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case _:
            frame.to_parquet(path)
    start = time.perf_counter()
    rows = read_splits(path).train
    assert rows is not None
    assert len(rows) == 200_000
    assert time.perf_counter() - start < 20  # about 1 s on a quiet machine


def test_clip_leaves_short_texts_alone_and_cuts_long_ones():
    assert clip("short", 128) == "short"
    assert len(clip("x" * 1_000_000, 128)) == 128 * 20


texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(texts, texts)))
def test_the_digest_changes_with_any_change(pairs):
    rows = Rows(tuple(t for t, _ in pairs), tuple(label for _, label in pairs))
    assert rows.digest() == rows.take(range(len(rows))).digest()
    assert rows.digest() != Rows(rows.texts).digest()
    assert rows.digest() != Rows((*rows.texts, ""), (*(rows.labels or ()), "")).digest()
    if rows != (turned := rows.take(reversed(range(len(rows))))):
        assert rows.digest() != turned.digest()


@given(st.lists(st.tuples(texts.filter(str.strip), texts.filter(str.strip).map(str.strip)), min_size=1))
def test_any_rows_survive_a_round_trip_through_json_lines(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    written(path, jsonl([{"text": text, "label": label} for text, label in pairs]))
    assert read_splits(path).train == read_splits(pairs).train


def test_reading_rows_loads_neither_torch_nor_any_other_heavy_library():
    heavy = {"torch", "transformers", "pandas", "pyarrow", "datasets", "sklearn"}
    script = f"import sys, tsugiki.data.checks, tsugiki.data.split; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not on this machine")
def test_the_shared_sets_are_read_with_their_published_sizes():
    splits = read_splits(SHARED / "data" / "faa_incident_type")
    assert [len(rows or ()) for rows in (splits.train, splits.validation, splits.test)] == [1383, 297, 297]
    assert len(set((splits.train or Rows(())).labels or ())) == 13


def test_errors_of_rows_are_value_errors():
    assert issubclass(RowsError, ValueError)
