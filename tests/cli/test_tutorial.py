"""The tutorial from an Excel file to needs_review does what it says, in both languages."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.bases import tiny_base_folder

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"en": DOCS / "tutorial" / "excel-to-needs-review.md", "ja": DOCS / "ja" / "excel-to-needs-review.md"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Step(NamedTuple):
    line: list[str]
    error: str | None


def blocks(page):
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def program(page):
    return next(content for kind, content in blocks(page) if kind == "python")


def steps(page):
    """The commands of a page; one whose shown output is an error is expected to fail with it."""
    found = []
    parts = blocks(page)
    for (kind, content), (next_kind, shown) in zip(parts, [*parts[1:], ("", "")], strict=True):
        error = re.match(r"error\[([\w.]+)\]", shown) if next_kind == "text" else None
        lines = [shlex.split(line, comments=True) for line in content.splitlines() if line.startswith("tsugiki ")]
        found += [Step(line[1:], error[1] if error else None) for line in lines if not kind]
    return found


def test_the_pages_of_both_languages_have_the_same_commands():
    assert steps(PAGES["en"]) == steps(PAGES["ja"])
    assert program(PAGES["en"]) == program(PAGES["ja"])


@pytest.fixture
def workbooks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(program(PAGES["ja"]), "make_workbooks.py", "exec"), {})


@pytest.fixture
def illegible(tmp_path, monkeypatch):
    """As the built-in base, one that reads Japanese as little as the real one."""
    folder = tiny_base_folder(tmp_path / "base")
    monkeypatch.setattr("tsugiki.base.model.built_in_folder", lambda: folder)


def test_every_command_does_what_the_page_says(tsugiki, workbooks, illegible, monkeypatch):
    import pandas

    monkeypatch.setenv("TSUGIKI_LANG", "ja")
    for line, error in steps(PAGES["ja"]):
        shown = tsugiki(*line)
        assert (shown.code != 0) == (error is not None), (line, shown.err)
        if error:
            assert f"error[{error}]" in shown.err
    answers = {name: pandas.read_excel(name) for name in ("新着.xlsx", "回答.xlsx", "回答90.xlsx")}
    assert list(answers["回答.xlsx"].columns[:3]) == list(answers["新着.xlsx"].columns)
    review = {name: int(answers[name]["needs_review"].sum()) for name in ("回答.xlsx", "回答90.xlsx")}
    assert 0 < review["回答90.xlsx"] < review["回答.xlsx"] < len(answers["新着.xlsx"]) == 120
    for picture in ("取り違え.png", "自動化.png"):
        assert Path(picture).read_bytes().startswith(b"\x89PNG")
