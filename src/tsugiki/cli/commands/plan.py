"""`tsugiki plan`: choose where modules are to stand, and what that would cost, before anything is trained."""

from typing import TYPE_CHECKING

from tsugiki.cli.answer import Answer, table
from tsugiki.cli.options import (
    AddedLatencyOption,
    BaseOption,
    ConfigOption,
    EncodingOption,
    ForceOption,
    LabelOption,
    MinScoreOption,
    NoCacheOption,
    OutOption,
    PackageBytesOption,
    PairOption,
    ParamsOption,
    PeakBytesOption,
    PriorOption,
    RowsArgument,
    SettingsOption,
    SheetOption,
    TaskOption,
    TextOption,
    TrainSecondsOption,
    settings_of,
)
from tsugiki.i18n import text as say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tsugiki.placement.choice import Option
    from tsugiki.train.planned import Planned

EXAMPLE = "tsugiki plan tickets.csv --max-params 1% --out plan"


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
    max_params: ParamsOption = None,
    max_train_s: TrainSecondsOption = None,
    max_added_latency: AddedLatencyOption = None,
    max_peak_bytes: PeakBytesOption = None,
    max_package_bytes: PackageBytesOption = None,
    min_score: MinScoreOption = None,
    prior: PriorOption = None,
    no_cache: NoCacheOption = False,
    force: ForceOption = False,
    config: ConfigOption = None,
    settings: SettingsOption = None,
) -> Answer:
    """Look at rows, base and machine, choose, and write `plan.json` and `plan.png`."""
    from tsugiki.api import plan

    chosen = settings_of(
        settings,
        force=force,
        no_cache=no_cache,
        placement="auto",
        max_params=max_params,
        max_train_s=max_train_s,
        max_added_latency=max_added_latency,
        max_peak_bytes=max_peak_bytes,
        max_package_bytes=max_package_bytes,
        min_score=min_score,
        prior=prior,
    )
    named = {"text": text, "pair": pair, "task": task, "label": label, "sheet": sheet, "encoding": encoding}
    planned = plan(rows, base=base, config=config, settings=chosen, **named)
    planned.write(out)
    return Answer({"out": str(out), **planned.facts()}, page(planned, out))


def page(planned: "Planned", out: object) -> "RenderableType":
    """The placements that no other beats, and what was looked at."""
    from rich.console import Group
    from rich.text import Text

    found, prior = planned.ground.evidence, planned.ground.prior
    columns = ("variant", "modules", "parameters", "seconds", "latency", "peak", "loss")
    rows = [_row(option, option is planned.choice.chosen) for option in planned.choice.front]
    lines = [
        say("cli.plan.looked", rows=found.num_rows, seconds=found.seconds, reliability=found.reliability),
        *([say("cli.plan.earlier", count=prior.num_ablations, agreement=planned.ground.agreement)] if prior else []),
        *([] if planned.choice.chosen else [say("cli.plan.nothing")]),
        say("cli.plan.next", out=out),
    ]
    return Group(table(*(say(f"cli.column.{name}") for name in columns), rows=rows), *map(Text, lines))


def _row(option: "Option", chosen: bool) -> tuple[object, ...]:
    cost = option.cost
    return (
        f"{option.plan.variant} *" if chosen else option.plan.variant,
        len(option.plan.grafts),
        cost.num_params,
        cost.train_s,
        cost.latency_ms,
        cost.peak_bytes / 1e6,
        option.loss,
    )
