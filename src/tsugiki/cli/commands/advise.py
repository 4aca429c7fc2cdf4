"""`tsugiki advise`: whether to start at all, with which rows, and what that is worth."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsugiki.cli.answer import Answer
from tsugiki.cli.options import (
    BaseOption,
    ConfigOption,
    EncodingOption,
    ForceOption,
    LabelOption,
    NoCacheOption,
    OutOption,
    PairOption,
    PrecisionOption,
    RowsArgument,
    SettingsOption,
    SheetOption,
    TaskOption,
    TextOption,
    settings_of,
)
from tsugiki.i18n import text as say

if TYPE_CHECKING:
    from tsugiki.advise.advice import Advice

EXAMPLE = "tsugiki advise tickets.csv --cases 2000 --minutes 6 --wage 35 --out advice"


def run(
    rows: RowsArgument,
    out: OutOption,
    base: BaseOption = None,
    text: TextOption = None,
    pair: PairOption = None,
    task: TaskOption = None,
    label: LabelOption = None,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    target_precision: PrecisionOption = None,
    cases: Annotated[float | None, typer.Option("--cases", metavar="NUMBER")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", metavar="NUMBER")] = None,
    wage: Annotated[float | None, typer.Option("--wage", metavar="NUMBER")] = None,
    currency: Annotated[str | None, typer.Option("--currency", metavar="NAME")] = None,
    setup_hours: Annotated[float | None, typer.Option("--setup-hours", metavar="NUMBER")] = None,
    upkeep_hours: Annotated[float | None, typer.Option("--upkeep-hours", metavar="NUMBER")] = None,
    no_cache: NoCacheOption = False,
    force: ForceOption = False,
    config: ConfigOption = None,
    settings: SettingsOption = None,
) -> Answer:
    """Draw a learning curve, go on from it, and say what follows on one page."""
    from rich.text import Text

    from tsugiki.api import advise

    assumed = {
        "cases": cases,
        "minutes": minutes,
        "wage": wage,
        "currency": currency,
        "setup_hours": setup_hours,
        "upkeep_hours": upkeep_hours,
    }
    named: Any = {"text": text, "pair": pair, "task": task, "label": label, "sheet": sheet, "encoding": encoding}
    chosen = settings_of(settings, force=force, no_cache=no_cache, target_precision=target_precision)
    given = {name: value for name, value in assumed.items() if value is not None}
    advice = advise(rows, base=base, config=config, settings=chosen, assumed=given, **named)
    facts, told = written(advice, out)
    return Answer({"out": str(out), **facts}, Text(told + "\n" + say("cli.advise.next", out=out, rows=rows)))


def written(advice: "Advice", out: Path) -> tuple[dict[str, Any], str]:
    """Write all four files; the facts and the text."""
    from tsugiki.report.advice import advice_page, advice_text, curve_picture
    from tsugiki.report.plots import png

    facts = json.loads(advice.model_dump_json())
    told, picture = advice_text(facts), png(curve_picture, facts)
    out.mkdir(parents=True, exist_ok=True)
    (out / "advice.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
    (out / "advice.txt").write_text(told, encoding="utf-8")
    (out / "advice.html").write_text(advice_page(facts, picture), encoding="utf-8")
    (out / "curve.png").write_bytes(picture)
    return facts, told
