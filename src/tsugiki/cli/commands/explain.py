"""`tsugiki explain`: what made an answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tsugiki.cli.answer import Answer, table
from tsugiki.cli.options import AdapterArgument, BaseOption
from tsugiki.i18n import text as say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tsugiki.explanation import Explanation

EXAMPLE = 'tsugiki explain tickets-adapter --text "Oil drips from cylinder 3"'


def run(
    folder: AdapterArgument,
    text: Annotated[str, typer.Option("--text", metavar="TEXT")],
    pair: Annotated[str | None, typer.Option("--pair", metavar="TEXT")] = None,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE")] = None,
    base: BaseOption = None,
) -> Answer:
    """Answer one text, and say which modules acted, what each layer brought and what the text is like."""
    from tsugiki import api
    from tsugiki.data.texts import pair as paired
    from tsugiki.report.explanation import explanation_picture

    found = api.explain(api.load_either(folder, base), text if pair is None else paired(text, pair))
    if picture is not None and found.players:
        picture.parent.mkdir(parents=True, exist_ok=True)
        explanation_picture(found, picture)
    return Answer(found.model_dump(mode="json"), _page(found))


def _page(found: "Explanation") -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from tsugiki.report.explanation import columns, lines, reasons

    told = [Text(sentence) for sentence in reasons(found)]
    if not found.players:
        return Group(*told)
    return Group(*told, table(*columns(), rows=lines(found)), Text(say("cli.explain.how")))
