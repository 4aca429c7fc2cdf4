"""`tsugiki compare`: the same rows and seeds for tsugiki and for what else one might do."""

from typing import TYPE_CHECKING, Annotated

import typer

from tsugiki.cli.answer import Answer
from tsugiki.cli.options import (
    BaseOption,
    ConfigOption,
    DomainsOption,
    EncodingOption,
    ForceOption,
    LabelOption,
    MergeOption,
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
    from tsugiki.evaluate.comparison import Comparison

EXAMPLE = "tsugiki compare tickets --methods tsugiki,full,probe --seeds 3 --out comparison"
METHODS = "tsugiki,full,lora,bias,probe,tfidf"


def run(
    rows: RowsArgument,
    out: OutOption,
    methods: Annotated[str, typer.Option("--methods", metavar="NAMES")] = METHODS,
    seeds: Annotated[int, typer.Option("--seeds", metavar="NUMBER", min=1)] = 3,
    base: BaseOption = None,
    text: TextOption = None,
    pair: PairOption = None,
    task: TaskOption = None,
    label: LabelOption = None,
    domains: DomainsOption = None,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    target_precision: PrecisionOption = None,
    merge_labels: MergeOption = False,
    no_cache: NoCacheOption = False,
    force: ForceOption = False,
    config: ConfigOption = None,
    settings: SettingsOption = None,
) -> Answer:
    """Train with every method and seed, and lay scores and costs side by side."""
    from rich.console import Group
    from rich.text import Text

    from tsugiki.api import compare

    chosen = settings_of(
        settings, force=force, merge_labels=merge_labels, no_cache=no_cache, target_precision=target_precision
    )
    comparison = compare(
        rows,
        [name.strip() for name in methods.split(",") if name.strip()],
        out=out,
        seeds=seeds,
        base=base,
        text=text,
        pair=pair,
        label=label,
        domains=domains,
        task=task,
        sheet=sheet,
        encoding=encoding,
        config=config,
        settings=chosen,
    )
    told = {"out": str(out), "page": str(out / "compare.html"), **facts(comparison)}
    return Answer(told, Group(comparison.table(), Text(say("cli.compare.page", path=told["page"]))))


def facts(comparison: "Comparison") -> dict[str, object]:
    """A comparison for programs."""
    return {
        "rows": comparison.rows,
        "differences": [d.model_dump(mode="json") for d in comparison.differences],
        "verdicts": comparison.verdicts,
    }
