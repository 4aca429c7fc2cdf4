"""`tsugiki compose`: adapters that were trained apart, put together so that each input finds its own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsugiki.cli.answer import Answer, table
from tsugiki.cli.options import BaseOption, EncodingOption, OutOption, PairOption, SheetOption, TextOption
from tsugiki.errors import ConfigError
from tsugiki.i18n import text as say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tsugiki.composed.adapters import Composed

EXAMPLE = "tsugiki compose billing returns outages --out desk"


def run(
    folders: Annotated[list[Path] | None, typer.Argument(metavar="DIR...")] = None,
    *,
    out: OutOption,
    add: Annotated[list[Path] | None, typer.Option("--add", metavar="DIR")] = None,
    rows: Annotated[str | None, typer.Option("--rows", metavar="ROWS")] = None,
    max_lost: Annotated[float | None, typer.Option("--max-lost", metavar="SHARE", min=0, max=1)] = None,
    domains: Annotated[str | None, typer.Option("--domains", metavar="COLUMN")] = None,
    text: TextOption = None,
    pair: PairOption = None,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    base: BaseOption = None,
) -> Answer:
    """Write the set, and say what each adapter is sure to keep of its own inputs and where the rows go."""
    from tsugiki.composed.joining import join
    from tsugiki.data.reading import Reading
    from tsugiki.data.rows import read_table, unlabelled

    recorded = None
    if rows is not None:
        reading = Reading.of(text=text, pair=pair, domains=domains, sheet=sheet, encoding=encoding)
        recorded = unlabelled(read_table(rows, None, reading), reading)
    elif domains is not None:
        raise ConfigError("compose.domains_without_rows")
    joined = join(folders or (), add or (), out=out, max_lost=max_lost, base=base, recorded=recorded)
    found, routes = joined.composed, joined.routes
    floors = [floor.model_dump() for floor in found.recogniser.floors]
    members = [{"name": name, **floor} for name, floor in zip(found.names, floors, strict=True)]
    told = {"out": str(out), "digest": found.set.composition.digest(), "state": found.set.composition.state}
    return Answer({**told, "members": members, **routes}, _page(found, routes, out))


def _page(found: "Composed", routes: dict[str, Any], out: Path) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    composition = found.set.composition
    columns = ["adapter", "held_rows", "lost_at_most", *(["inputs"] if routes else [])]
    lines = []
    for name, floor in zip(found.names, found.recogniser.floors, strict=True):
        bound = say("cli.compose.bound", share=100 * floor.share) if floor.num_rows else say("cli.compose.no_bound")
        lines.append([name, floor.num_rows, bound, *([routes["counts"].get(name, 0)] if routes else [])])
    if routes:
        lines.append([say("cli.compose.nobody"), None, None, routes["counts"].get("", 0)])
    shown = [table(*(say(f"cli.column.{column}") for column in columns), rows=lines)]
    sentences = [say("cli.compose.sure", share=100 * composition.share, confidence=100 * composition.confidence)]
    if learnt := routes.get("taught"):
        told = {name: 100 * learnt[name] for name in ("before", "after")}
        sentences.append(say("cli.compose.taught", rows=learnt["rows"], **told))
    if "moved" in routes:
        sentences.append(say("cli.compose.moved", moved=routes["moved"], rows=routes["rows"]))
    sentences.append(say("cli.compose.next", out=out))
    return Group(*shown, *map(Text, sentences))
