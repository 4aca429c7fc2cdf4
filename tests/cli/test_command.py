import shlex
import subprocess
import sys
from importlib import import_module

import pytest

from tsugiki import i18n
from tsugiki.cli import command

NAMES = command.lines()


def test_every_command_of_the_house_is_there():
    first = [
        "demo",
        "data",
        "advise",
        "plan",
        "train",
        "predict",
        "compose",
        "explain",
        "audit",
        "evaluate",
        "compare",
        "ablate",
        "inspect",
        "export",
        "import",
        "cache",
        "doctor",
        "wheelhouse",
    ]
    assert command.names() == first
    assert [name for name in NAMES if " " in name] == ["data check", "cache list", "cache purge"]


def test_the_help_lists_every_command_with_its_summary(tsugiki):
    shown = tsugiki("--help")
    assert shown.code == 0
    for name in command.names():
        assert i18n.text(f"cli.summary.{name}") in shown.out


def test_without_a_command_the_help_is_shown(tsugiki):
    assert tsugiki().out == tsugiki("--help").out


def test_the_version_is_shown(tsugiki):
    assert tsugiki("--version").out.startswith("tsugiki 0.")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_a_help_page_in_both_languages(tsugiki, name):
    words = name.split()
    english, japanese = tsugiki(*words, "--help"), tsugiki(*words, "--help", "--lang", "ja")
    assert english.code == japanese.code == 0
    assert english.out.startswith(f"Usage: tsugiki {name} ")
    assert japanese.out.startswith(f"使い方: tsugiki {name} ")
    for option in ("--json", "--lang", "--help"):
        assert option in english.out


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_command_is_one(name):
    words = name.split()
    program, *line = shlex.split(import_module(".".join(["tsugiki.cli.commands", *words])).EXAMPLE)
    assert [program, *line[: len(words)]] == ["tsugiki", *words]
    command.build(name).make_context(name, line[len(words) :])


def test_no_help_page_is_cut(tsugiki):
    for name in NAMES:
        assert "…" not in tsugiki(*name.split(), "--help", "--lang", "ja").out


def test_the_language_may_stand_before_the_command(tsugiki):
    assert tsugiki("--lang", "ja", "train", "--help").out == tsugiki("train", "--help", "--lang=ja").out


def test_the_language_of_the_locale_is_spoken(tsugiki, monkeypatch):
    monkeypatch.delenv("TSUGIKI_LANG")
    monkeypatch.setenv("LC_ALL", "ja_JP.UTF-8")
    assert tsugiki("--help").out.startswith("使い方:")


def test_help_imports_neither_torch_nor_pydantic_nor_any_command():
    line = [sys.executable, "-X", "importtime", "-m", "tsugiki", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    loaded = {entry.rpartition("|")[2].strip() for entry in done.stderr.splitlines()}
    assert "tsugiki.cli.command" in loaded
    assert not loaded & {"torch", "transformers", "pandas", "numpy", "pydantic", "pyarrow"}
    assert not [name for name in loaded if name.startswith("tsugiki.cli.commands.")]
