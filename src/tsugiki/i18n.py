"""Texts for people, from one catalogue per language.

A language is one file, `locales/NAME.toml`; its tables are flattened to dotted keys (`rows.empty`).
English is complete by definition; a test holds every other language to the same keys and the same placeholders.
"""

import logging
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from importlib.resources import files

FALLBACK = "en"
_chosen: ContextVar[str | None] = ContextVar("language", default=None)
_log = logging.getLogger("tsugiki")


def languages() -> list[str]:
    """Names of the languages that have a catalogue, sorted."""
    folder = files("tsugiki") / "locales"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def language() -> str:
    """The language in force: the one chosen by `use_language`, else the locale's, else English."""
    chosen = _chosen.get()
    if chosen:
        return chosen
    for variable in ("TSUGIKI_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        name = os.environ.get(variable, "")[:2].lower()
        if name in languages():
            return name
    return FALLBACK


def use_language(name: str | None) -> None:
    """Choose a language for this context; None goes back to the locale's."""
    _chosen.set(name)


@cache
def catalogue(name: str) -> dict[str, str]:
    """All texts of one language, by dotted key."""
    source = files("tsugiki") / "locales" / f"{name}.toml"
    return dict(_flatten(tomllib.loads(source.read_text(encoding="utf-8"))))


def text(key: str, /, **facts: object) -> str:
    """The text of `key` in the language in force, with `facts` filled in."""
    template = catalogue(language()).get(key) or catalogue(FALLBACK)[key]
    return template.format(**facts)


def notify(key: str, /, **facts: object) -> None:
    """Log a text for people at level INFO on the logger `tsugiki`; the record has its key as `code`."""
    _log.info("%s", text(key, **facts), extra={"code": key})


def warn(key: str, /, **facts: object) -> None:
    """Log a text for people at level WARNING on the logger `tsugiki`; the record has its key as `code`."""
    _log.warning("%s", text(key, **facts), extra={"code": key})


def _flatten(table: Mapping[str, object], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", str(value)
