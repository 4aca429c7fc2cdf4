"""The catalogues agree with each other and with the code."""

import ast
import re
from functools import cache
from pathlib import Path
from string import Formatter

import pytest
import typer

import tsugiki
from tsugiki import i18n
from tsugiki.cli import command

SOURCE = Path(tsugiki.__file__).parent
ENGLISH = i18n.catalogue("en")
OTHERS = [name for name in i18n.languages() if name != "en"]
SECTIONS = {key.partition(".")[0] for key in ENGLISH}
KEY = re.compile(rf"({'|'.join(sorted(SECTIONS))})(\.[a-z0-9_]+)+")
# Calls whose first argument is a key, whatever they are called where they are imported.
CALLS = {"text", "say", "warn", "notify", "_words", "_worded", "Finding"}


def placeholders(text):
    return {(name, conversion) for _, name, _, conversion in Formatter().parse(text) if name is not None}


@cache
def constants():
    """Every string in the code."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@cache
def patterns():
    """Every f-string in the code that makes keys of one section's part, such as `cli.column.{name}`."""
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                start = str(node.values[0].value)
                if start.partition(".")[0] in SECTIONS and start.endswith(".") and start.count(".") > 1:
                    found.append(re.compile(re.escape(start) + r"\w+"))
    return found


def asked_for():
    """Keys that the code asks for in so many words."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for first in node.args[:1] if called in CALLS or called.endswith("Error") else ():
                if isinstance(first, ast.Constant) and isinstance(first.value, str) and KEY.fullmatch(first.value):
                    yield path.relative_to(SOURCE).as_posix(), first.value


def help_keys():
    """Keys of the help pages: made of the names of commands and their options."""
    yield "cli.about"
    lines = [line.split() for line in command.lines()]
    for words in sorted({"", *(" ".join(line[:end]) for line in lines for end in range(1, len(line) + 1))}):
        built = command.build(words) if words else typer.main.get_command(command_app())
        name = words.replace(" ", "_")
        if name:
            yield f"cli.summary.{name}"
        for parameter in built.get_params(typer.Context(built)):
            spelled = max(parameter.opts, key=len).lstrip("-")
            own = f"cli.{name}.{spelled}"
            yield own if own in ENGLISH else f"cli.option.{spelled}"


def command_app():
    from tsugiki.cli.main import app

    return app


@pytest.mark.parametrize("name", OTHERS)
def test_every_language_has_the_same_keys(name):
    assert i18n.catalogue(name).keys() == ENGLISH.keys()


@pytest.mark.parametrize("name", OTHERS)
def test_every_language_has_the_same_placeholders(name):
    other = i18n.catalogue(name)
    differ = {
        key
        for key, text in ENGLISH.items()
        if {n for n, _ in placeholders(text)} != {n for n, _ in placeholders(other[key])}
    }
    assert not differ


@pytest.mark.parametrize("name", i18n.languages())
def test_no_text_is_empty_or_of_several_lines(name):
    assert not {key for key, text in i18n.catalogue(name).items() if not text.strip() or "\n" in text}


@pytest.mark.parametrize("name", i18n.languages())
def test_a_console_of_japanese_windows_can_show_every_text(name):
    def lacks(text):
        return text.encode("cp932", "replace").decode("cp932") != text

    assert not {key for key, text in i18n.catalogue(name).items() if lacks(text)}


def test_every_key_that_is_asked_for_exists():
    assert not {(path, key) for path, key in asked_for() if key not in ENGLISH}


def test_every_help_page_finds_its_texts():
    assert not {key for key in help_keys() if key not in ENGLISH}


def test_every_text_of_the_command_line_is_used():
    used = constants() | set(help_keys())
    last = {
        key for key in ENGLISH if key.rpartition(".")[2] in constants() and any(p.fullmatch(key) for p in patterns())
    }
    assert not {key for key in ENGLISH if key.startswith("cli.") and key not in used | last}


def test_the_variable_decides_then_the_locale_then_english(monkeypatch):
    for variable in ("TSUGIKI_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(variable, raising=False)
    assert i18n.language() == "en"
    monkeypatch.setenv("LANG", "ja_JP.UTF-8")
    assert i18n.language() == "ja"
    monkeypatch.setenv("TSUGIKI_LANG", "en")
    assert i18n.language() == "en"
    i18n.use_language("ja")
    try:
        assert i18n.text("rows.empty", path="x").startswith("x には")
    finally:
        i18n.use_language(None)


def test_a_language_without_a_catalogue_falls_back_to_english(monkeypatch):
    for variable in ("TSUGIKI_LANG", "LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    assert i18n.language() == "en"
