"""`tsugiki cache`: what is kept of rows is shown, and deleted when asked."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tsugiki.base.facts import ShelfFacts
from tsugiki.base.shelf import Shelf
from tsugiki.base.stock import stock
from tsugiki.base.upkeep import cache_root
from tsugiki.cli.commands.cache import purge

TEXTS = ["Oil under press 4", "Belt stands still", "oily\nP1"]


@pytest.fixture
def cache(tsugiki):
    """A command line whose cache holds three rows, on a shelf of states and on one of means."""
    common: dict[str, Any] = {"base": "tiny", "tokenizer_digest": "t", "max_length": 64}
    fill(ShelfFacts(kind="state", state=2, dtype="bfloat16", **common), np.ones((4, 8), "<u2"))
    fill(ShelfFacts(kind="pooled", state=6, dtype="float32", **common), np.ones((4, 8), "<f4"))
    return tsugiki


def fill(about, array):
    """Put the texts on a shelf that nobody holds any more afterwards."""
    with Shelf(Path("w") / about.folder, 8, about.dtype, about=about).writer(1000) as draft:
        for text in TEXTS:
            draft.add(about.key(text), array)


def rows_kept():
    return len({key for shelf in stock(cache_root()) for key in shelf.keys})


def test_the_list_says_what_is_kept(cache):
    told = cache("cache", "list", "--json").json
    assert told["rows"] == 3
    assert [(s["base"], s["kind"], s["state"], s["rows"]) for s in told["shelves"]] == [
        ("tiny", "pooled", 6, 3),
        ("tiny", "state", 2, 3),
    ]
    assert told["num_bytes"] == sum(s["num_bytes"] for s in told["shelves"])
    shown = cache("cache", "list").out
    for part in ("tiny", "means of 0-6", "bfloat16", "3 different row(s)"):
        assert part in shown


def test_it_answers_without_torch(cache):
    code = "import sys, tsugiki.base.forget, tsugiki.cli.commands.cache.list; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_an_empty_cache_is_said_to_be_empty(tsugiki):
    assert "is empty" in tsugiki("cache", "list").out
    assert tsugiki("cache", "list", "--json").json["shelves"] == []


def test_the_word_alone_shows_what_may_follow(tsugiki):
    shown = tsugiki("cache")
    assert shown.code == 0 and "purge" in shown.out and shown.out == tsugiki("cache", "--help").out
    assert tsugiki("cache", "prune").err.startswith(
        "error[cli.no_such_command]: There is no command 'prune'; there are list, purge."
    )


def test_everything_goes_where_that_was_confirmed_beforehand(cache):
    told = cache("cache", "purge", "--yes", "--json").json
    assert told["rows"] == 3 and told["num_bytes"] > 0
    assert rows_kept() == 0


def test_where_nobody_can_be_asked_nothing_goes(cache):
    shown = cache("cache", "purge")
    assert shown.code == 2
    assert shown.err.startswith("error[cli.nobody_to_ask]: Delete all 3 row(s)")
    assert rows_kept() == 3


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 130, 3), ("y\n", 0, 0)])
def test_whoever_is_there_is_asked(cache, monkeypatch, answer, code, left):
    monkeypatch.setattr(purge, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    assert cache("cache", "purge", input=answer).code == code
    assert rows_kept() == left


def test_only_the_rows_of_a_file_go(cache, tmp_path):
    (tmp_path / "person.csv").write_text("text\nOil under press 4\nnever seen\n", encoding="utf-8")
    told = cache("cache", "purge", "--rows", "person.csv", "--json").json
    assert (told["texts"], told["rows"]) == (2, 1)
    assert rows_kept() == 2


def test_columns_are_joined_as_in_training(cache, tmp_path):
    (tmp_path / "person.csv").write_text("Machine,Fault\nP1,oily\n", encoding="utf-8")
    assert cache("cache", "purge", "--rows", "person.csv", "--text", "Fault,Machine", "--json").json["rows"] == 1
    assert "None of the 1 different" in cache("cache", "purge", "--rows", "person.csv", "--text", "Fault").out


def test_a_file_that_is_not_there_deletes_nothing(cache):
    assert cache("cache", "purge", "--rows", "./nobody.csv").code == 4
    assert rows_kept() == 3
