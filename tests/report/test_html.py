"""One page that needs nothing else and says what it comes to."""

import re
from html.parser import HTMLParser

import pytest

from tests.report.conftest import difference
from tsugiki import i18n
from tsugiki.report.html import comparison_page
from tsugiki.report.verdicts import verdicts


@pytest.fixture
def pictures(tmp_path):
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        path.write_bytes(b"\x89PNG")
    return paths


class Balance(HTMLParser):
    """Keeps the tags that are open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_from_elsewhere(rows, differences, pictures):
    page = comparison_page(rows, differences, pictures)
    assert page.count("data:image/png;base64,") == 3
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)
    parser = Balance()
    parser.feed(page)
    assert parser.open == []


def test_names_are_text_and_never_markup(rows, differences, pictures):
    page = comparison_page([{**row, "dataset": "<b>x</b>"} for row in rows], differences, pictures)
    assert "<b>x</b>" not in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page


def test_the_page_speaks_the_language_in_force(rows, differences, pictures):
    i18n.use_language("ja")
    try:
        page = comparison_page(rows, differences, pictures)
    finally:
        i18n.use_language(None)
    assert '<html lang="ja">' in page
    assert "正解率" in page
    english = (words for key, words in i18n.catalogue("en").items() if key.startswith("report.") and "{" not in words)
    assert not [words for words in english if f">{words}<" in page or f'"{words}"' in page]


def test_a_simple_method_that_stays_behind_is_not_enough(rows, differences):
    said = " ".join(verdicts(rows, differences))
    assert "full has the best score" in said
    assert "10.2 times as long" not in said
    assert "10.5 times as long" in said
    assert "no difference is shown" in said
    assert "probe-all is not enough" in said
    assert "tsugiki reached the target of 80.0 % on validation in 1 of 2 runs only" in said
    assert "probe-all never reached the target" in said


def test_a_simple_method_within_chance_may_be_enough(rows):
    said = " ".join(
        verdicts(
            rows,
            [difference(m, "probe-all", -1.0, 3.0) for m in ("tsugiki", "full")]
            + [difference("tsugiki", "full", -3.0, -1.0)],
        )
    )
    assert "probe-all may be enough" in said
    assert "it is worse" in said


def test_what_was_not_compared_is_left_open(rows):
    alone = [{**row, "target_score": None} for row in rows if row["method"] == "tsugiki"]
    said = " ".join(verdicts(alone, []))
    assert "there is no target" in said
    assert "left open" in said
