"""`tsugiki wheelhouse`: collect all that an installation without a network needs."""

import platform
import sysconfig
from pathlib import Path
from typing import Annotated

import typer

from tsugiki.cli.answer import Answer
from tsugiki.i18n import text as say

EXAMPLE = "tsugiki wheelhouse tsugiki-offline"


def run(folder: Annotated[Path, typer.Argument(metavar="DIR")]) -> Answer:
    """Fill a folder with the wheels of tsugiki and of everything it needs, as they are installed here."""
    from tsugiki.cli.wheelhouse import build_wheelhouse

    made = build_wheelhouse(folder)
    facts = {"out": str(folder), "python": f"Python {platform.python_version()}", "platform": sysconfig.get_platform()}
    done = say("cli.wheelhouse.done", count=len(made.wheels), size=made.num_bytes, **facts)
    found = {**facts, "wheels": [wheel.name for wheel in made.wheels], "num_bytes": int(made.num_bytes)}
    return Answer(found, "\n".join([done, say("cli.wheelhouse.next", out=folder.resolve().name)]))
