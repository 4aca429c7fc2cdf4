"""A base that cannot read the rows is named before anything is computed."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.bases import tokenizer
from tsugiki.base.legible import legibility, require_legible
from tsugiki.base.model import BUILT_IN, built_in_folder
from tsugiki.data.rows import read_splits
from tsugiki.errors import BaseModelError, MissingError


def english() -> Any:
    try:
        folder = built_in_folder()
    except MissingError:
        pytest.skip("the built-in base is not installed")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def tickets(language):
    from importlib.resources import files

    rows = read_splits(str(files("tsugiki") / "demo" / f"tickets_{language}")).train
    assert rows is not None
    return rows.texts


def test_english_rows_are_legible_to_the_english_base():
    found = legibility(english(), tickets("en"), 256)
    assert found.enough and found.unknown_share < 0.01 and found.script == "latin"


def test_japanese_rows_are_not_and_the_message_shows_characters_and_suggests_a_base():
    base: Any = SimpleNamespace(tokenizer=english(), name=BUILT_IN)
    with pytest.raises(BaseModelError) as caught:
        require_legible(base, tickets("ja"), 256, force=False)
    assert caught.value.code == "base.illegible" and legibility(english(), tickets("ja"), 256).unknown_share > 0.1
    assert "--force" in str(caught.value) and "bert-base-japanese" in str(caught.value)
    assert all(len(example) in (1, 3) for example in str(caught.value.facts["examples"]).split(", "))


def test_words_that_differ_only_in_what_the_tokenizer_drops_are_found():
    found = legibility(english(), ["ガスケット", "カスケット", "résumé plan"], 256)
    assert "ガ=カ" in found.equal or "カ=ガ" in found.equal
    assert not found.enough


def test_a_few_accents_are_no_reason_to_stop():
    assert legibility(english(), [f"the naïve café pump {i} leaks" for i in range(100)], 256).enough


def test_one_may_go_on_with_a_warning(caplog):
    base: Any = SimpleNamespace(tokenizer=english(), name=BUILT_IN)
    require_legible(base, tickets("ja")[:50], 256, force=True)
    assert "hardly reads" in caplog.text


def test_no_rows_and_no_unknown_token_are_legible():
    bare: Any = tokenizer()
    assert legibility(bare, [], 16).enough
