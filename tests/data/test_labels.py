"""One label, several or none in a cell."""

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.data.labels import in_order, join, split
from tsugiki.data.reading import Reading
from tsugiki.data.rows import Rows, Splits, read_table, unlabelled
from tsugiki.data.rows import read_splits as read
from tsugiki.data.split import subsample, with_validation
from tsugiki.errors import RowsError

LABEL = st.text(st.characters(exclude_characters=";；", categories=("L", "N")), min_size=1, max_size=5)


@given(st.lists(LABEL))
def test_labels_survive_being_joined(labels):
    assert split(join(labels)) == tuple(sorted(set(labels)))


def test_blanks_and_empty_labels_between_separators_are_none():
    assert split(" b ;; a；c; ") == ("b", "a", "c") and split(" ") == ()


def read_splits(source: Any, reading: Reading | None = None) -> Any:
    """Tests need not rule out that a split is missing."""
    return read(source, reading)


def rows_of(*labels, **reading):
    table = [{"text": f"row {at}", "label": label} for at, label in enumerate(labels)]
    return read_splits(table, Reading(**reading)).train


def test_lists_of_labels_are_several(caplog):
    caplog.set_level("INFO", logger="tsugiki")
    found = rows_of(["b", "a"], [], ["a"])
    assert found == Rows(("row 0", "row 1", "row 2"), ("a;b", "", "a"), several=True)
    assert "--task classify" in caplog.text and "1 row(s) have no label" in caplog.text
    assert found.classes == ("a", "b") and found.labels_by_row == [("a", "b"), (), ("a",)]


def test_a_semicolon_in_any_split_makes_all_splits_several(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\none,leak; noise\ntwo,leak\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text("text,label\nthree,leak\nfour,\n", encoding="utf-8")
    found = read_splits(tmp_path)
    assert found.train == Rows(("one", "two"), ("leak;noise", "leak"), several=True)
    assert found.test == Rows(("three", "four"), ("leak", ""), several=True)


def test_the_user_may_say_that_a_semicolon_is_part_of_a_label():
    assert rows_of("yes; in part", "no", task="classify") == Rows(("row 0", "row 1"), ("yes; in part", "no"))


def test_lists_are_refused_where_one_label_is_wanted():
    with pytest.raises(RowsError) as caught:
        rows_of(["a"], ["b"], task="classify")
    assert caught.value.code == "rows.lists"


def test_a_label_of_a_list_that_holds_the_separator_is_refused_with_its_line():
    with pytest.raises(RowsError) as caught:
        rows_of(["a"], ["b;c"])
    assert caught.value.code == "rows.label_separator" and "line 2" in str(caught.value)


def test_a_wide_semicolon_in_a_label_of_a_list_is_refused_too():
    with pytest.raises(RowsError) as caught:
        rows_of(["故障；緊急"])
    assert caught.value.code == "rows.label_separator"


def test_grades_with_a_semicolon_are_no_several_labels():
    assert not rows_of("good; new", "bad", grades=("bad", "good; new")).several


def test_lists_are_read_from_json_parquet_and_frames(tmp_path):
    table = [{"text": "one", "label": ["a", "b"]}, {"text": "two", "label": []}]
    wanted = Rows(("one", "two"), ("a;b", ""), several=True)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    frame = pd.DataFrame(table)
    frame.to_parquet(tmp_path / "rows.parquet")
    assert read_splits(tmp_path / "rows.jsonl").train == wanted
    assert read_splits(tmp_path / "rows.parquet").train == wanted
    assert read_splits(frame).train == wanted


def test_rows_to_be_answered_are_read_as_the_task_wants_them():
    table = [{"text": "one", "label": "b; a"}, {"text": "two", "label": ""}]
    assert unlabelled(read_table(table), Reading(task="tag")).labels == ("a;b", "")
    assert unlabelled(read_table(table), Reading()).labels is None


def test_rows_of_several_labels_are_drawn_by_their_rarest():
    rows = Rows(("x",) * 4, ("a", "a;b", "a;c", ""), several=True)
    assert rows.strata == ("a", "b", "c", "")
    assert Rows(("x", "y"), ("a", "b")).strata == ("a", "b")


def test_validation_is_held_out_of_rows_that_are_all_different():
    labels = tuple(join(f"t{i % k}" for k in (2, 3, 5, 7)) for i in range(120))
    rows = Rows(tuple(map(str, range(120))), labels, several=True)
    found: Any = with_validation(Splits(rows), seed=0)
    assert 12 <= len(found.validation) <= 24 and found.validation.several
    assert set(found.train.classes) == set(rows.classes)
    assert len(subsample(rows.strata, 40, 0)) == 40


def test_grades_are_in_the_order_of_their_numbers():
    assert in_order(["10", "2", "-1"]) == ("-1", "2", "10")
    assert in_order(["2", "low"]) is None
    assert in_order(["b"], ["c", "b"]) == ("c", "b")


# --- pairs


def test_columns_named_as_pairs_are_pairs():
    table = [{"premise": "it rains", "hypothesis": "it is wet", "label": "yes"}] * 2
    assert read_splits(table).train.texts[0] == "it rains\x1eit is wet"
    named = Reading.of(text="hypothesis", pair="premise")
    assert read_splits(table, named).train.texts[0] == "it is wet\x1eit rains"


def test_a_column_of_texts_wins_over_columns_named_as_pairs():
    table = [{"text": "all", "premise": "it rains", "hypothesis": "it is wet", "label": "yes"}]
    assert read_splits(table).train.texts == ("all",)


def test_a_pair_without_any_text_is_blank_and_half_a_pair_is_not():
    table = [{"a": " ", "b": "", "label": "x"}, {"a": "one", "b": None, "label": "y"}]
    assert read_splits(table, Reading.of(text="a", pair="b")).train.texts == ("one\x1e",)


def test_the_second_column_has_to_be_there():
    with pytest.raises(RowsError, match="--pair"):
        read_splits([{"text": "one", "label": "x"}], Reading.of(text="text", pair="other"))
