"""What a command found, told to people and to programs. Only this goes to stdout, so that it can be piped on."""

import codecs
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_PIPE_WIDTH = 200


@dataclass(frozen=True)
class Answer:
    """One answer.

    Args:
        facts: for programs, as JSON.
        page: for people; a string is printed as it is, anything else by Rich.
        exit_code: of the command, once it has answered.
    """

    facts: Mapping[str, Any]
    page: "RenderableType"
    exit_code: int = 0


def show(answers: Answer | Iterable[Answer], *, as_json: bool) -> None:
    """Print each answer as soon as it is there.

    Raises:
        typer.Exit: an answer has an exit code.
    """
    for answer in [answers] if isinstance(answers, Answer) else answers:
        if as_json:
            print(to_json(answer.facts), flush=True)
        elif isinstance(answer.page, str):
            print(answer.page, flush=True)
        else:
            from rich.console import Console

            console = Console(highlight=False)
            if not console.is_terminal:  # a file or a pipe has no edge at which to break lines
                console.width = _PIPE_WIDTH
            console.print(answer.page)
        if answer.exit_code:
            import typer

            raise typer.Exit(answer.exit_code)


def to_json(facts: Mapping[str, Any]) -> str:
    """One line, in UTF-8 or, where the stream is of another encoding, with everything beyond ASCII escaped."""
    utf8 = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    return json.dumps(facts, ensure_ascii=not utf8, default=str)


def table(*columns: str, rows: Iterable[Sequence[object]]) -> "Table":
    """A table; numbers are set to the right, and nothing in it is taken for markup."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    listed = [list(row) for row in rows]
    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(columns):
        numeric = bool(listed) and all(isinstance(row[at], int | float | None) for row in listed)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        made.add_row(*(Text(_cell(value)) for value in row))
    return made


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)
