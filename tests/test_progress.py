"""Bars where somebody watches: in terminals and notebooks, in the language in force, and nowhere else."""

import io
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from tsugiki import i18n
from tsugiki import progress as module
from tsugiki.progress import progress
from tsugiki.report.tables import plain


@pytest.mark.parametrize(("language", "unit"), [("en", "rows/s"), ("ja", "行/秒")])
def test_the_bar_counts_rows_in_the_language_in_force(language, unit, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(module, "Console", lambda **_: Console(file=out, force_terminal=True, width=100))
    i18n.use_language(language)
    try:
        with progress("states", 4) as advance:
            for _ in range(4):
                advance(1)
    finally:
        i18n.use_language(None)
    assert "4/4" in out.getvalue() and unit in out.getvalue()


@pytest.fixture
def outputs(monkeypatch):
    """What the cell of a notebook shows, as text; one output for each bar, however often it is redrawn."""
    shown: list[str] = []

    def display(table, display_id):
        at = len(shown)
        shown.append(plain(table))
        return SimpleNamespace(update=lambda table: shown.__setitem__(at, plain(table)))

    monkeypatch.setattr(module, "Console", lambda **asked: Console(force_jupyter=True, **asked))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    return shown


def test_in_a_notebook_a_bar_is_replaced_and_stays_when_it_is_full(outputs, monkeypatch):
    monkeypatch.setattr(module, "_REDRAW_S", 0.0)
    with progress("states", 10) as advance:
        assert len(outputs) == 1 and "0/10" in outputs[0]
        advance(4)
        assert "4/10" in outputs[0]
        advance(6)
    with progress("more", 2) as advance:
        advance(1)
    assert ["10/10" in outputs[0], "1/2" in outputs[1], len(outputs)] == [True, True, 2]


def test_a_notebook_is_not_redrawn_for_every_row(outputs, monkeypatch):
    monkeypatch.setattr(module, "_REDRAW_S", 1e9)
    with progress("states", 10) as advance:
        advance(4)
        assert "0/10" in outputs[0]
    assert "4/10" in outputs[0]


def test_a_file_is_spared_the_bars(capsys):
    with progress("states", 10) as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")
