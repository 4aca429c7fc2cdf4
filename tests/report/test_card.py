"""The card of a package speaks one language at a time."""

import pytest

from tests.cli.stand_ins import manifest
from tsugiki import i18n
from tsugiki.manifest import HeadFacts, ModuleFacts, Placement
from tsugiki.report.card import card

GRAFTED = {
    "placement": Placement(
        boundary=4, exit=6, modules=(ModuleFacts(layer=4, site="mlp", form={"kind": "low_rank", "rank": 8}),)
    ),
    "head": HeadFacts(states=(4, 6)),
    "training": {"seed": 1},
    "usage_terms": "社内のみ",
}


@pytest.fixture
def japanese():
    i18n.use_language("ja")
    yield
    i18n.use_language(None)


@pytest.mark.parametrize("facts", [{}, GRAFTED, {"placement": Placement(boundary=0, exit=0), "licence": None}])
def test_in_japanese_no_heading_and_no_sentence_is_left_in_english(japanese, facts):
    said = card(manifest(**facts))
    lines = {part.strip(" -#|") for line in said.splitlines() for part in line.split("|")}
    english = {text for key, text in i18n.catalogue("en").items() if key.startswith("card.") and "{" not in text}
    assert not english & lines
    assert "## スコアと費用" in said and "「" not in said.partition("---\n\n")[0]


def test_the_front_matter_is_the_same_in_every_language(japanese):
    ours = card(manifest()).partition("---\n\n")[0]
    i18n.use_language("en")
    assert card(manifest()).partition("---\n\n")[0] == ours
