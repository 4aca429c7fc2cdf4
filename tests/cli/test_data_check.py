"""`tsugiki data check`: what a person and a program are told."""

import pytest


@pytest.fixture
def rows(tmp_path):
    lines = [
        "text,label,mail",
        "zqxjkv oil leak,ABC,a@example.com",
        "zqxjkv oil leak,ＡＢＣ,b@example.com",
        "belt stuck,x,",
    ]
    (tmp_path / "rows.csv").write_text("\n".join(lines), encoding="utf-8")
    return "rows.csv"


def test_findings_are_sentences_and_tables_and_no_failure(tsugiki, rows):
    shown = tsugiki("data", "check", rows)
    assert shown.code == 0
    for part in (
        "3 classes on 3 rows",
        "train 2, train 3",
        "'ＡＢＣ' = 'ABC'",
        "--merge-labels",
        "mail address",
        "point(s) to look at",
    ):
        assert part in shown.out


def test_texts_are_shown_only_when_asked_for(tsugiki, rows):
    hidden = tsugiki("data", "check", rows)
    assert "zqxjkv" not in hidden.out + hidden.err + tsugiki("data", "check", rows, "--json").out
    assert "zqxjkv oil leak" in tsugiki("data", "check", rows, "--show").out
    told = tsugiki("data", "check", rows, "--show", "--json").json
    (twice,) = [finding for finding in told["findings"] if finding["code"] == "data.duplicates"]
    assert twice["entries"][0]["texts"] == ["zqxjkv oil leak"] * 2


def test_programs_are_told_the_same(tsugiki, rows):
    told = tsugiki("data", "check", rows, "--json").json
    assert told["rows"] == {"train": 3}
    (twice,) = [finding for finding in told["findings"] if finding["code"] == "data.duplicates"]
    assert (twice["inspection"], twice["level"], twice["facts"]) == ("duplicates", "warning", {"texts": 1, "rows": 2})
    places = [{"split": "train", "line": 2}, {"split": "train", "line": 3}]
    assert twice["entries"] == [{"rows": places, "label": "ABC | ＡＢＣ"}]


def test_clean_rows_are_said_to_be_clean(tsugiki, tmp_path):
    lines = [
        "text,label",
        *(
            f"{word} {word[::-1]},{label}"
            for word, label in zip(("pump", "motor", "valve", "belt"), "abab", strict=True)
        ),
    ]
    (tmp_path / "clean.csv").write_text("\n".join(lines), encoding="utf-8")
    assert "Nothing suspicious" in tsugiki("data", "check", "clean.csv").out


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("text,label\n", "rows.empty"),
        ("text,label\nonly,one\n", "data.one_class"),
        ("text,label\noil,\nbelt,x\n", "rows.missing_labels"),
        ("text,other\noil,x\n", "rows.no_label"),
    ],
)
def test_rows_that_cannot_be_learnt_from_are_an_error_as_in_training(tsugiki, tmp_path, content, code):
    (tmp_path / "bad.csv").write_text(content, encoding="utf-8")
    checked, trained = tsugiki("data", "check", "bad.csv"), tsugiki("train", "bad.csv", "--out", "made")
    assert checked.code == trained.code == 3
    assert checked.err == trained.err and checked.err.startswith(f"error[{code}]: ")


def test_a_file_without_names_in_its_first_line_does_not_show_its_texts(tsugiki, tmp_path):
    text = "zqxjkv: the oil drips from cylinder 3 since Monday"
    (tmp_path / "bare.csv").write_text(f"{text},leak\n{text}!,jam\n", encoding="utf-8")
    shown = tsugiki("data", "check", "bare.csv")
    assert shown.code == 3 and "#1, leak" in shown.err and "zqxjkv" not in shown.err
