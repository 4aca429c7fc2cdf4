"""`tsugiki ablate`: what each layer and site of an adapter brings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsugiki.cli.answer import Answer, table
from tsugiki.cli.options import (
    AdapterArgument,
    BaseOption,
    EncodingOption,
    LabelOption,
    NoCacheOption,
    OutOption,
    PairOption,
    RowsArgument,
    SheetOption,
    TextOption,
)
from tsugiki.i18n import text as say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tsugiki.ablation import Ablation

EXAMPLE = "tsugiki ablate tickets-adapter tickets --out ablation"


def run(
    folder: AdapterArgument,
    rows: RowsArgument,
    out: OutOption,
    split: Annotated[str, typer.Option("--split", metavar="SPLIT")] = "test",
    text: TextOption = None,
    pair: PairOption = None,
    label: LabelOption = None,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    base: BaseOption = None,
    no_cache: NoCacheOption = False,
) -> Answer:
    """Leave modules out, leave them alone, and write what that does to the answers."""
    from tsugiki import api
    from tsugiki.report.ablation_picture import ablation_picture
    from tsugiki.report.html import ablation_page
    from tsugiki.report.plots import png

    named: Any = {"text": text, "pair": pair, "label": label, "sheet": sheet, "encoding": encoding}
    found = api.ablate(api.load(folder, base), rows, split=split, cache=not no_cache, **named)
    picture = png(ablation_picture, found)
    out.mkdir(parents=True, exist_ok=True)
    (out / "ablation.json").write_text(found.model_dump_json(indent=1), encoding="utf-8")
    (out / "ablation.png").write_bytes(picture)
    page = ablation_page(found, {"report.ablation_modules": picture})
    (out / "ablation.html").write_text(page, encoding="utf-8")
    return Answer({"out": str(out), **found.model_dump(mode="json")}, _page(found, out))


def _page(found: "Ablation", out: Path) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from tsugiki.report.ablation import columns, guidance, lines

    told = table(*columns(), rows=lines(found))
    return Group(told, *map(Text, guidance(found)), Text(say("cli.ablate.next", out=out)))
