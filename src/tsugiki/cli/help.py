"""Help pages, laid out by Rich: it knows that Japanese letters are two columns wide."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tsugiki.i18n import text

_WIDTH = 100


def page(command: Any, context: Any, commands: Sequence[tuple[str, str]] = ()) -> str:
    """The help page of a command.

    Args:
        command: as Typer built it.
        context: of the command.
        commands: name and summary of each command below it.
    """
    parameters = command.get_params(context)
    arguments = [p for p in parameters if p.param_type_name == "argument"]
    options = [p for p in parameters if p.param_type_name == "option"]
    words = ["[OPTIONS]", *(spelled(p) for p in arguments)]
    usage = " ".join([context.command_path, *words, *(["COMMAND ..."] if commands else [])])
    parts = [
        Text.assemble((f"{text('cli.help.usage')} ", "bold"), usage),
        Text(""),
        Text(command.help),
        *_section("cli.help.commands", commands),
        *_section("cli.help.arguments", [(spelled(p), _meaning(p)) for p in arguments]),
        *_section("cli.help.options", [(spelled(p), _meaning(p)) for p in options]),
    ]
    if command.epilog:
        parts += [Text(""), Text.assemble((f"{text('cli.help.example')} ", "bold"), command.epilog)]
    console = Console(file=sys.stdout, highlight=False)
    console.width = min(console.width, _WIDTH)
    with console.capture() as capture:
        console.print(Group(*parts))
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def spelled(parameter: Any) -> str:
    """A parameter as it is written on the command line."""
    if parameter.param_type_name == "argument":
        name = str(parameter.metavar or parameter.name.upper())
        return name if parameter.required else f"[{name}]"
    value = "" if parameter.is_flag else f" {parameter.metavar}"
    return ", ".join(parameter.opts) + value


def _section(heading: str, rows: Sequence[tuple[str, str]]) -> list[Any]:
    if not rows:
        return []
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # Japanese has no spaces to break at
    for name, meaning in rows:
        table.add_row(Text(name, style="cyan"), Text(meaning))
    return [Text(""), Text(text(heading), style="bold"), Padding(table, (0, 0, 0, 2))]


def _meaning(parameter: Any) -> str:
    meaning = str(parameter.help)
    if parameter.required and parameter.param_type_name == "option":
        return f"{meaning} ({text('cli.help.required')})"
    if parameter.default in (None, False, ()) or callable(parameter.default):
        return meaning
    return f"{meaning} ({text('cli.help.default', value=parameter.default)})"
