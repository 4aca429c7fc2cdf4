"""`tsugiki data check`: what rows are like and what may be wrong with them, before anything is learnt from them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsugiki import i18n
from tsugiki.cli.answer import Answer, table
from tsugiki.cli.options import (
    EncodingOption,
    LabelOption,
    PairOption,
    RowsArgument,
    SheetOption,
    TaskOption,
    TextOption,
)
from tsugiki.i18n import text as say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tsugiki.data.checks import Finding
    from tsugiki.data.inspection import Place

EXAMPLE = "tsugiki data check tickets.csv"
_MOST_ENTRIES = 20
_MOST_PLACES = 6
_MOST_CHARACTERS = 60

Texts = Mapping["Place", str]


def run(
    rows: RowsArgument,
    text: TextOption = None,
    pair: PairOption = None,
    label: LabelOption = None,
    task: TaskOption = None,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    show: Annotated[bool, typer.Option("--show")] = False,
) -> Answer:
    """Look at the rows from all sides; what is found is no fault of the command, so it exits with 0."""
    from tsugiki.data.inspection import inspect, see
    from tsugiki.data.reading import Reading

    seen = see(rows, Reading.of(text=text, pair=pair, label=label, task=task, sheet=sheet, encoding=encoding))
    found = inspect(seen)
    texts: Texts = dict(zip(seen.places, seen.texts, strict=True)) if show else {}
    facts = {
        "rows": {part.split: len(part.rows) for part in seen.parts},
        "findings": [_facts(name, finding, texts) for name, finding in found],
    }
    return Answer(facts, _page([finding for _, finding in found], texts))


# --- for programs


def _facts(name: str, finding: "Finding", texts: Texts) -> dict[str, Any]:
    entries = [
        {
            **{column: _plain(value) for column, value in zip(finding.columns, entry, strict=True)},
            **({"texts": [texts[place] for place in _places(entry)]} if texts else {}),
        }
        for entry in finding.entries
    ]
    told = {"level": finding.level, "code": finding.code, "message": finding.text(), "facts": dict(finding.facts)}
    return {"inspection": name, **told, "entries": entries}


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return value._asdict()
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _places(entry: Sequence[Any]) -> "Iterator[Place]":
    """The rows that an entry names."""
    for value in entry:
        if hasattr(value, "_asdict"):
            yield value
        elif isinstance(value, tuple):
            yield from value


# --- for people


def _page(found: "Sequence[Finding]", texts: Texts) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for finding in found:
        warning = finding.level == "warning"
        start = (f"{say('cli.warning')} ", "yellow") if warning else ""
        parts += [Text.assemble(start, finding.text()), *_entries(finding, texts)]
    warnings = sum(finding.level == "warning" for finding in found)
    last = say("cli.data_check.warnings", count=warnings) if warnings else say("cli.data_check.clean")
    return Group(*parts, Text(last, "bold"))


def _entries(finding: "Finding", texts: Texts) -> "Iterator[RenderableType]":
    from rich.text import Text

    if not finding.entries:
        return
    with_texts = bool(texts) and any(True for _ in _places(finding.entries[0]))
    columns = [_heading(column) for column in (*finding.columns, *(["text"] if with_texts else []))]
    rows = [
        (*map(_cell, finding.columns, entry), *([_texts(entry, texts)] if with_texts else []))
        for entry in finding.entries[:_MOST_ENTRIES]
    ]
    yield table(*columns, rows=rows)
    if (more := len(finding.entries) - _MOST_ENTRIES) > 0:
        yield Text(say("cli.data_check.more", count=more), "dim")


def _heading(column: str) -> str:
    key = f"cli.column.{column}"
    return say(key) if key in i18n.catalogue(i18n.FALLBACK) else column


def _cell(column: str, value: Any) -> Any:
    if column == "found":
        return say(f"cli.data_check.{value}")
    if isinstance(value, bool):
        return say("cli.data_check.yes") if value else ""
    if isinstance(value, tuple) and not hasattr(value, "_asdict"):
        return ", ".join(map(str, value[:_MOST_PLACES])) + (", …" if len(value) > _MOST_PLACES else "")
    return value if isinstance(value, int | float) else str(value)


def _texts(entry: Sequence[Any], texts: Texts) -> str:
    some = [" ".join(texts[place].split())[:_MOST_CHARACTERS] for place in _places(entry)]
    return "\n".join(some[:_MOST_PLACES])
