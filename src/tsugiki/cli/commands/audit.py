"""`tsugiki audit`: which modules act, matter, repeat each other or hurt each other, over many rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsugiki.cli.answer import Answer, table
from tsugiki.cli.options import (
    AdapterArgument,
    BaseOption,
    EncodingOption,
    LabelOption,
    OutOption,
    PairOption,
    RowsArgument,
    SheetOption,
    TextOption,
)
from tsugiki.i18n import text as say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tsugiki.audited import Audit

EXAMPLE = "tsugiki audit tickets-adapter tickets --out audit"


def run(
    folder: AdapterArgument,
    rows: RowsArgument,
    out: OutOption,
    split: Annotated[str, typer.Option("--split", metavar="SPLIT")] = "test",
    text: TextOption = None,
    pair: PairOption = None,
    label: LabelOption = None,
    domains: Annotated[str | None, typer.Option("--domains", metavar="COLUMN")] = None,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    base: BaseOption = None,
) -> Answer:
    """Take modules off rows one by one and two by two, and write what that does to the answers."""
    from tsugiki import api
    from tsugiki.report.audit_picture import audit_picture
    from tsugiki.report.html import audit_page
    from tsugiki.report.plots import png

    named: Any = {"text": text, "pair": pair, "label": label, "domains": domains, "sheet": sheet, "encoding": encoding}
    found = api.audit(api.load_either(folder, base), rows, split=split, **named)
    picture = png(audit_picture, found)
    out.mkdir(parents=True, exist_ok=True)
    (out / "audit.json").write_text(found.model_dump_json(indent=1), encoding="utf-8")
    (out / "audit.png").write_bytes(picture)
    (out / "audit.html").write_text(audit_page(found, {"report.audit_effects": picture}), encoding="utf-8")
    return Answer({"out": str(out), **found.model_dump(mode="json")}, _page(found, out))


def _page(found: "Audit", out: Path) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from tsugiki.report.audit import columns, findings, lines

    told = table(*columns(), rows=lines(found))
    return Group(told, *map(Text, findings(found)), Text(say("cli.audit.next", out=out)))
