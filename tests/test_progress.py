"""A bar says how far long work is, in the language in force."""

import io

import pytest
from rich.console import Console

from tsugiki import i18n, progress


@pytest.mark.parametrize(("language", "unit"), [("en", "rows/s"), ("ja", "行/秒")])
def test_the_bar_counts_rows_in_the_language_in_force(language, unit, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda **_: Console(file=out, force_terminal=True, width=100))
    i18n.use_language(language)
    try:
        with progress.progress("states", 4) as advance:
            for _ in range(4):
                advance(1)
    finally:
        i18n.use_language(None)
    assert "4/4" in out.getvalue() and unit in out.getvalue()
