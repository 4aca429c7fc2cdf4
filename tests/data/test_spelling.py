"""Labels that only look different to a program are found, and merged when asked."""

import logging
from dataclasses import replace

import pytest

from tsugiki.data.checks import check
from tsugiki.data.dates import are_dates
from tsugiki.data.rows import Rows, Splits, read_splits
from tsugiki.data.spelling import folded, merged, respelled, usual_spellings


def rows(*labels):
    return Rows(tuple(f"text {number}" for number in range(len(labels))), labels)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ABC", "ＡＢＣ"),
        ("故障", "故障\u3000"),
        ("モーター", "ﾓｰﾀｰ"),
        ("Leak", "leak"),
        ("oil leak", "oil  leak"),
        ("stop", "st\u200bop"),
        ("⚠ stop", "⚠\ufe0f stop"),
    ],
)
def test_width_case_blanks_and_what_is_invisible_do_not_count(one, other):
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("one", "other"), [("ガス", "カス"), ("はん", "ばん"), ("A-1", "A 1"), ("🔥", "💧"), ("1", "2")]
)
def test_what_means_something_else_counts(one, other):
    assert folded(one) != folded(other)


def test_the_most_frequent_spelling_is_the_usual_one_and_the_first_among_equals():
    assert usual_spellings(["ＡＢＣ", "ABC", "abc", "ABC", "x"]) == {"ＡＢＣ": "ABC", "abc": "ABC"}
    assert usual_spellings(["b", "B"]) == {"b": "B"}


def test_the_spelling_of_an_adapter_is_the_usual_one_however_rare():
    assert usual_spellings(["leak", "leak", "new"], known=["LEAK"]) == {"leak": "LEAK"}
    assert usual_spellings(["a", "A"], known=["a", "A"]) == {}


def test_merging_is_said_and_counts_over_all_splits(caplog):
    learnt = rows("ABC", "x", "ＡＢＣ")
    splits = Splits(learnt, rows("ABC"), rows("ＡＢＣ", "x"))
    with caplog.at_level(logging.INFO, "tsugiki"):
        found = merged(splits)
    assert found.train and found.validation and found.test
    assert (found.train.labels, found.test.labels) == (("ABC", "x", "ABC"), ("ABC", "x"))
    assert found.train.texts == learnt.texts
    assert found.validation == splits.validation
    assert len(caplog.records) == 2 and "'ＡＢＣ' = 'ABC'" in caplog.records[0].message


def test_rows_without_such_labels_are_left_as_they_are(caplog):
    same = rows("a", "b")
    assert respelled(same, {"c": "C"}) is same
    assert not caplog.records


def test_whoever_trains_is_warned_and_nothing_is_merged_by_itself():
    splits = read_splits([("one", "ABC"), ("two", "ＡＢＣ"), ("three", "x"), ("four", "x ")])
    (finding,) = [f for f in check(splits) if f.code == "data.alike_labels"]
    assert "--merge-labels" in finding.text() and "'ＡＢＣ' = 'ABC'" in finding.text()
    assert splits.train and set(splits.train.labels or ()) == {"ABC", "ＡＢＣ", "x"}


@pytest.mark.parametrize(
    "dates",
    [
        ["2024-01-31", "2025-02-01"],
        ["2024/1/5", "2024/12/31"],
        ["2024年1月5日", "２０２４年２月１０日"],
        ["令和6年1月5日", "R6.1.5"],
        ["1月5日", "12月 31日"],
        ["20240131", "20241201"],
        ["31.12.2024", "1.1.2025"],
        ["12/31/24", "1/5/24"],
        ["2024-01-31 10:20:30", "2024-01-31T10:20"],
        ["Jan 5, 2024", "5 March 2024"],
    ],
)
def test_dates_are_known_as_they_are_written_in_japan_and_elsewhere(dates):
    assert are_dates(dates)


@pytest.mark.parametrize(
    "others", [[], ["1.2.3", "2.0"], ["leak", "jam"], ["E12", "12"], ["2024", "2025"], ["3/4 inch"]]
)
def test_what_is_no_date_is_not_taken_for_one(others):
    assert not are_dates(others)


def test_a_label_column_of_dates_is_questioned():
    splits = read_splits([("one", "2024-01-31"), ("two", "2024-02-01"), ("three", "2024-02-01")])
    (finding,) = [f for f in check(splits) if f.code == "data.date_labels"]
    assert "Is that the right column?" in finding.text()


def test_each_of_several_labels_is_respelled_by_itself():
    rows = Rows(("1", "2", "3"), ("Heat;leak", "heat", "heat;jam"), several=True)
    assert merged(Splits(rows)).train == replace(rows, labels=("heat;leak", "heat", "heat;jam"))


def test_known_spellings_hold_whatever_the_rows_say():
    rows = Rows(("1", "2", "3"), ("heat", "heat", "jam"))
    found = merged(Splits(rows), known=("Heat",)).train
    assert found is not None and found.labels == ("Heat", "Heat", "jam")
