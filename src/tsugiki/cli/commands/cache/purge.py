"""`tsugiki cache purge`: delete all states that are kept, or those of some rows."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tsugiki.cli.answer import Answer
from tsugiki.cli.options import EncodingOption, PairOption, SheetOption, TextOption
from tsugiki.errors import ConfigError
from tsugiki.i18n import text as say
from tsugiki.i18n import warn

if TYPE_CHECKING:
    from pathlib import Path

    from tsugiki.data.reading import Reading

EXAMPLE = "tsugiki cache purge --rows asked-to-be-forgotten.csv"


def run(
    rows: Annotated[str | None, typer.Option("--rows", metavar="FILE")] = None,
    yes: Annotated[bool, typer.Option("--yes")] = False,
    text: TextOption = None,
    pair: PairOption = None,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
) -> Answer:
    """Delete, and tell how many rows and bytes went.

    Raises:
        ConfigError: everything is to go, and nobody is there to be asked.
        MissingError: the file of the rows is not there.
        RowsError: it cannot be read.
    """
    from tsugiki.base.upkeep import cache_root, num_writers
    from tsugiki.data.reading import Reading

    root = cache_root()
    answer = (
        _everything(root, yes)
        if rows is None
        else _some(root, rows, Reading.of(text=text, pair=pair, sheet=sheet, encoding=encoding))
    )
    if writers := num_writers(root):
        warn("cache.being_written", count=writers)
    return answer


def _everything(root: "Path", yes: bool) -> Answer:
    from tsugiki.base.stock import stock
    from tsugiki.base.upkeep import purge, usage

    before = {key for shelf in stock(root) for key in shelf.keys}
    if not yes:
        _ask(say("cli.cache_purge.ask", root=root, rows=len(before), size=usage(root)))
    num_bytes = purge(root)
    gone = len(before - {key for shelf in stock(root) for key in shelf.keys})
    return Answer({"rows": gone, "num_bytes": int(num_bytes)}, say("cli.cache_purge.done", rows=gone, size=num_bytes))


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigError("cli.nobody_to_ask", question=question)
    typer.confirm(question, abort=True, err=True)


def _some(root: "Path", source: str, reading: "Reading") -> Answer:
    from tsugiki.base.forget import forget
    from tsugiki.data.columns import texts_of
    from tsugiki.data.sources import parts_of, table_of

    tables = [table_of(part, reading) for part in parts_of(source).values()]
    texts = {text for table in tables for text in texts_of(table, reading)}
    found = forget(root, texts)
    told = {"texts": len(texts), "rows": found.num_rows, "num_bytes": int(found.num_bytes)}
    key = "some" if found.num_rows else "none"
    return Answer(told, say(f"cli.cache_purge.{key}", **{**told, "size": found.num_bytes}))
