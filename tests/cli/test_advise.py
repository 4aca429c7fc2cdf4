"""`tsugiki advise`: four files, one page, in both languages."""

import json
from pathlib import Path

import pytest

from tests.support.bases import tiny_base_folder
from tests.support.runs import easy_rows, quick_options


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base_folder(tmp_path_factory.mktemp("base"))


@pytest.fixture
def rows(tmp_path):
    found = easy_rows(60)
    lines = (json.dumps({"text": t, "label": l}) for t, l in zip(found.texts, found.labels, strict=True))
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "rows.jsonl"


@pytest.mark.parametrize(("language", "said"), [("en", "Three sentences"), ("ja", "3 つの文")])
def test_it_writes_a_page_for_a_manager_and_prints_it(tsugiki, rows, base, language, said):
    line = ("--base", base, "--out", "advice", "--cases", "500", "--wage", "30", *quick_options())
    found = tsugiki("advise", rows, *line, "--lang", language)
    assert found.code == 0, found.err
    assert said in found.out and said in Path("advice/advice.html").read_text(encoding="utf-8")
    assert Path("advice/curve.png").read_bytes().startswith(b"\x89PNG")
    written = json.loads(Path("advice/advice.json").read_text(encoding="utf-8"))
    assert written["assumed"]["cases"] == 500 and written["assumed"]["wage"] == 30
    assert said in Path("advice/advice.txt").read_text(encoding="utf-8")


def test_an_assumption_that_cannot_be_is_refused_before_anything_is_computed(tsugiki, rows, base):
    found = tsugiki("advise", rows, "--base", base, "--out", "advice", "--wage", "0", *quick_options())
    assert found.code == 2 and "wage" in found.err and not Path("advice").exists()


def test_it_answers_in_json(tsugiki, rows, base):
    told = tsugiki("advise", rows, "--base", base, "--out", "advice", "--json", *quick_options()).json
    assert told["out"] == "advice" and len(told["expected"]) == 2 and told["verdict"]
