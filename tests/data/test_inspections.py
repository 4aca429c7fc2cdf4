"""What `data check` finds, and that it names rows by their lines."""

import json
import random

import pytest

from tests.support.runs import easy_rows
from tsugiki import i18n
from tsugiki.data.inspection import INSPECTIONS, Place, inspect, see
from tsugiki.data.reading import Reading
from tsugiki.data.rows import Rows
from tsugiki.data.suspects import suspects
from tsugiki.errors import RowsError


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("TSUGIKI_LANG", "en")


def found(source, code, **reading):
    """The entries of a finding, as dicts; None where there is no such finding."""
    seen = see(source, Reading.of(**reading))
    for _, finding in inspect(seen):
        if finding.code == code:
            assert finding.text()
            return [dict(zip(finding.columns, entry, strict=True)) for entry in finding.entries]
    return None


def labelled(*texts):
    """Rows of two classes in turn; texts in a list are numbered from 1."""
    return [(text, "ab"[number % 2]) for number, text in enumerate(texts)]


def test_classes_are_counted_by_split():
    source = {"train": [("one", "x"), ("two", "y"), ("three", "x")], "test": [("four", "y")]}
    assert found(source, "data.classes") == [
        {"label": "x", "train": 2, "test": 0},
        {"label": "y", "train": 1, "test": 1},
    ]


def test_the_lines_are_those_of_the_file_also_behind_blank_rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nbelt,a\n,a\noil,a\nnoise here,b\nOIL ,b\n", encoding="utf-8")
    assert found(path, "data.duplicates") == [{"rows": (Place("train", 4), Place("train", 6)), "label": "a | b"}]


def test_equal_texts_of_two_splits_are_no_duplicates_but_a_leak():
    source = {"train": labelled("oil under press", "belt"), "test": labelled("Oil under  press")}
    assert found(source, "data.duplicates") is None
    assert found(source, "data.leaks") == [{"row": Place("test", 1), "like": Place("train", 1), "likeness": 1.0}]


LONG = "the hydraulic unit of the press behind the second gate leaks oil near cylinder number"


def test_nearly_equal_texts_are_grouped_with_their_labels():
    source = labelled(f"{LONG} 1", f"{LONG} 2", "belt stands still at the infeed", f"{LONG} 3")
    (group,) = found(source, "data.near_duplicates")
    assert group["rows"] == tuple(Place("train", line) for line in (1, 2, 4))
    assert group["label"] == "a | b" and 0.85 <= group["likeness"] < 1


def test_nearly_equal_texts_of_two_splits_leak():
    source = {"train": labelled(f"{LONG} 1", "belt"), "validation": labelled(f"{LONG} 2", "a motor runs hot")}
    (leak,) = found(source, "data.leaks")
    assert (leak["row"], leak["like"]) == (Place("validation", 1), Place("train", 1))
    assert found(source, "data.near_duplicates") is None


def test_texts_of_hardly_any_letter_are_named():
    assert found(labelled("-", "oil leak"), "data.tiny_texts") == [{"row": Place("train", 1), "characters": 1}]


def test_the_encoding_is_told_and_broken_letters_are_found(tmp_path):
    path = tmp_path / "rows.csv"
    broken = "油が漏れている".encode().decode("cp932", "replace")
    path.write_text(f"text,label\nü,a\nfÃ¼r,b\n{broken},a\nベルト,b\n", encoding="utf-16")
    seen = see(path, Reading())
    (told,) = [finding for _, finding in inspect(seen) if finding.code == "data.encoding"]
    assert told.facts == {"split": "train", "encoding": "utf-16"}
    assert [entry["row"].line for entry in found(path, "data.broken_letters")] == [3, 4]


def test_blanks_around_labels_are_said_to_be_of_no_account():
    source = [("one", "故障 "), ("two", "故障"), ("three", "x")]
    assert found(source, "data.blanks_around_labels") == [{"row": Place("train", 1), "label": "'故障 '"}]
    assert found(source, "data.alike_labels") is None


def test_of_too_many_texts_some_of_all_splits_are_compared_and_that_is_said(monkeypatch):
    monkeypatch.setattr("tsugiki.data.inspection.MOST_TEXTS", 6)
    monkeypatch.setattr("tsugiki.data.inspections.near_duplicates.MOST_TEXTS", 6)
    words = ["pump", "motor", "valve", "belt", "noise", "oil", "press", "robot", "screw"]
    source = {"train": labelled(*words[:5]), "test": labelled(*words[5:])}
    (told,) = [f for _, f in inspect(see(source, Reading())) if f.code == "data.compared_in_part"]
    assert told.facts == {"compared": 6, "texts": 9}


# --- label errors


def test_labels_that_were_exchanged_are_found_with_their_right_ones():
    rows = easy_rows(240)
    classes = sorted(set(rows.labels))
    wrong = {row: classes[(classes.index(rows.labels[row]) + 1) % 3] for row in range(5, 240, 20)}
    labels = [wrong.get(row, label) for row, label in enumerate(rows.labels)]
    entries = found(list(zip(rows.texts, labels, strict=True)), "data.label_errors")
    named = {entry["row"].line - 1: entry["suggested"] for entry in entries}
    assert sum(named.get(row) == rows.labels[row] for row in wrong) >= 10
    assert len(named) <= 2 * len(wrong)
    assert len({*list(named)[: len(wrong)]} & {*wrong}) >= 9


def test_right_labels_are_left_in_peace():
    rows = easy_rows(120)
    assert len(suspects(rows.texts, rows.labels, rows.texts).rows) <= 6


def test_classes_of_few_rows_are_not_judged():
    rows = easy_rows(60)
    labels = ["rare" if row == 0 else label for row, label in enumerate(rows.labels)]
    judged = suspects(rows.texts, labels, rows.texts)
    assert 0 not in judged.rows and "rare" not in judged.suggested
    assert found([("oil", "a"), ("belt", "b")], "data.label_errors") is None


# --- personal data


def table(**columns):
    number = len(next(iter(columns.values())))
    texts = {"text": [f"text {i}" for i in range(number)], "label": ["x", "y"] * (number // 2)}
    cells = {**texts, **columns}
    return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


@pytest.mark.parametrize(
    "number",
    [
        "03-1234-5678",
        "０９０－１２３４－５６７８",
        "(03) 1234-5678",
        "0120(444)222",
        "09012345678",
        "+81 3 1234 5678",
        "+44 20 7946 0958",
        "(555) 010-9999",
        "電話は 06-6123-4567 まで",
    ],
)
def test_phone_numbers_are_known(number):
    (entry,) = found(table(note=["-", number]), "data.personal")
    assert (entry["column"], entry["found"], entry["rows"], entry["used"]) == ("note", "phone", 1, False)
    assert entry["first"] == (Place("train", 2),)


@pytest.mark.parametrize(
    "other", ["2024-01-31", "01-02-2024", "1234567", "A-03-1234-5678-9", "192.168.10.100", "10:30", "12-34", "3.14"]
)
def test_other_numbers_are_no_phone_numbers(other):
    assert found(table(note=["-", other]), "data.personal") is None


@pytest.mark.parametrize("address", ["taro@example.co.jp", "Write to a.b+c@mail.example.com.", "ｔａｒｏ＠example.jp"])
def test_mail_addresses_are_known(address):
    (entry,) = found(table(note=["-", address]), "data.personal")
    assert entry["found"] == "mail"


@pytest.mark.parametrize(
    "names",
    [
        ["山田 太郎", "佐藤　花子"],
        ["鈴木様", "ジョン・スミス様"],
        ["Mary J. Smith", "Jean-Luc Picard"],
        ["Mr. Bean", "Mrs. Miller-Smith"],
    ],
)
def test_names_of_persons_are_known_where_most_cells_look_so(names):
    entries = found(table(who=names), "data.personal")
    assert [entry["found"] for entry in entries] == ["name"]
    assert found(table(who=[names[0], "conveyor belt", "press", "oil"]), "data.personal") is None


@pytest.mark.parametrize(
    ("heading", "kind"), [("担当者", "name"), ("customer_name", "name"), ("電話", "phone"), ("E-Mail", "mail")]
)
def test_a_heading_is_enough(heading, kind):
    (entry,) = found(table(**{heading: ["a1", "b2"]}), "data.personal")
    assert (entry["found"], entry["rows"]) == (kind, 2)


def test_a_phone_number_within_the_texts_is_said_to_be_learnt_from():
    source = [("call 03-1234-5678", "Machine Stop"), ("belt", "Oil Leak")]
    (entry,) = found(source, "data.personal")
    assert (entry["column"], entry["used"]) == ("text", True)


# --- all together


def test_facts_come_first_and_warnings_behind():
    levels = [finding.level for _, finding in inspect(see(labelled("oil", "OIL", "-"), Reading()))]
    assert levels == sorted(levels, key=["note", "warning"].index) and "warning" in levels


def test_no_text_of_a_row_is_in_any_finding():
    rows = easy_rows(40)
    texts = [f"{text} zqxjkv{number // 2} 03-1234-5678" for number, text in enumerate(rows.texts)]
    source = {
        "train": list(zip(texts[:30], rows.labels[:30], strict=True)),
        "test": list(zip(texts[25:], rows.labels[25:], strict=True)),
    }
    for language in i18n.languages():
        i18n.use_language(language)
        findings = inspect(see(source, Reading()))
        told = json.dumps([(f.text(), f.facts, f.entries) for _, f in findings], ensure_ascii=False, default=str)
        assert len(findings) > 4 and "zqxjkv" not in told
    i18n.use_language(None)


def test_rows_that_nothing_can_be_learnt_from_are_refused_as_in_training():
    with pytest.raises(RowsError) as caught:
        see([("one", "x"), ("two", "x")], Reading())
    assert caught.value.code == "data.one_class"


@pytest.mark.parametrize("name", INSPECTIONS.names())
def test_every_inspection_takes_few_rows_and_odd_ones(name):
    """A new file in `data/inspections` is tested here without a line more."""
    chance = random.Random(0)
    odd = ["😀", "\u3000x", "a" * 5000, "\x00", "é" * 3, "﷽", *(chr(chance.randrange(0x20, 0xD000)) for _ in range(9))]
    for source in (labelled("one", "two"), labelled(*odd), {"train": labelled("a", "b"), "test": labelled("a")}):
        for finding in INSPECTIONS.parse({"kind": name}).look(see(source, Reading())):
            assert finding.level in ("note", "warning") and finding.text()
            assert all(len(entry) == len(finding.columns) for entry in finding.entries)


def test_rows_keep_their_order_in_what_is_seen():
    seen = see({"train": labelled("a", "b"), "test": labelled("c")}, Reading())
    assert seen.texts == ["a", "b", "c"] and seen.labels == ["a", "b", "a"]
    assert seen.splits.test == Rows(("c",), ("a",))


def test_of_rows_with_several_labels_each_label_is_counted():
    rows = [{"text": f"row {i}", "label": ["leak", "heat"] if i % 2 else ["leak"]} for i in range(8)]
    assert found(rows, "data.classes") == [{"label": "leak", "train": 8}, {"label": "heat", "train": 4}]
    assert found(rows, "data.label_errors") is None
