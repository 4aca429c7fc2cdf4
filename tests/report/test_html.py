"""One page that needs nothing else and says what it comes to."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.cli.stand_ins import manifest
from tests.report.conftest import difference
from tsugiki import i18n
from tsugiki.evaluate.metrics import ClassScore
from tsugiki.evaluate.run import Evaluation
from tsugiki.report.html import adapter_part, comparison_page, comparison_part
from tsugiki.report.verdicts import verdicts


@pytest.fixture
def pictures():
    return {"report.score_by_time": b"\x89PNG", "report.score_by_parameters": b"\x89PNG", "report.coverage": b"\x89PNG"}


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


def test_a_part_for_a_notebook_has_tables_and_pictures_and_no_frame(rows, differences, pictures):
    part = comparison_part(rows, differences, pictures)
    assert part.count("data:image/png;base64,") == 3
    assert part.count("<table") == 3
    assert not re.search(r"<html|<body|<style|<script", part)
    parser = Balance()
    parser.feed(part)
    assert parser.open == []
    assert part.strip() in comparison_page(rows, differences, pictures)


def test_an_evaluation_shows_classes_confusion_and_coverage():
    labels = ("leak", "<i>")
    scores = (ClassScore("leak", 0.5, 1.0, 2 / 3, 2), ClassScore("<i>", 1.0, 0.5, 2 / 3, 4))
    curve = ((0.5, 1.0), (1.0, 0.6))
    found = Evaluation(0.6, "accuracy", 2 / 3, 6, labels, scores, ((2, 0), (2, 2)), {}, 0.1, curve)
    part = found._repr_html_()
    assert part.count("data:image/png;base64,") == 2
    assert "<td>0.667</td><td>4</td>" in part and "2 x &lt;i&gt; was taken for leak." in part
    for less in (replace(found, coverage=()), replace(found, confusion=())):
        assert less._repr_html_().count("data:image/png;base64,") == 1


def test_an_adapter_shows_what_it_is_and_no_markup_of_its_maker():
    part = adapter_part(manifest(name="<script>", usage_terms=None))
    for expected in ("&lt;script&gt;", "tiny (Tiny, 6 x 32)", "suffix 4/6", "validation_score 0.8125", "MIT"):
        assert expected in part
    assert '<td style="text-align: left">-</td>' not in part
