"""`tsugiki train`: learn from rows and save an adapter."""

from typing import TYPE_CHECKING

from tsugiki.cli.answer import Answer, table
from tsugiki.cli.options import (
    BaseOption,
    ConfigOption,
    LabelOption,
    OutOption,
    RowsArgument,
    SettingsOption,
    TextOption,
    settings_of,
)
from tsugiki.i18n import text as say

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from tsugiki.train.run import Trained

EXAMPLE = "tsugiki train tickets.csv --out tickets-adapter"


def run(
    rows: RowsArgument,
    out: OutOption,
    base: BaseOption = None,
    text: TextOption = None,
    label: LabelOption = None,
    config: ConfigOption = None,
    settings: SettingsOption = None,
) -> Answer:
    """Train, save and tell what was tried and what it cost."""
    from tsugiki.api import train_and_report

    chosen = settings_of(settings)
    trained = train_and_report(rows, base=base, out=out, text=text, label=label, config=config, settings=chosen)
    return Answer({"out": str(out), **bill(trained)}, page(trained, out))


def bill(trained: "Trained") -> dict[str, object]:
    """What was tried, what it cost and what came of it, for programs."""
    manifest = trained.adapter.manifest
    return {
        "name": manifest.name,
        "variant": manifest.variant,
        "verdict": trained.verdict,
        "candidates": [candidate.facts() for candidate in trained.candidates],
        "seconds": trained.seconds,
        "predicted_s": trained.predicted_s,
        "measured_s": trained.measured_s,
    }


def page(trained: "Trained", out: "Path") -> "RenderableType":
    """The same for people, and what to do next."""
    from rich.console import Group
    from rich.text import Text

    winner = trained.adapter.manifest.variant
    columns = [say(f"cli.column.{name}") for name in ("variant", "validation", "seconds", "predicted", "parameters")]
    rows = [
        (
            f"{candidate.variant} *" if candidate.variant == winner else candidate.variant,
            candidate.score,
            candidate.train_s,
            candidate.predicted_s or None,
            candidate.num_trainable,
        )
        for candidate in trained.candidates
    ]
    seconds = trained.seconds
    cost = say("cli.train.cost", total=seconds["total"], cache=seconds["cache"])
    following = say("cli.train.next", out=out)
    return Group(table(*columns, rows=rows), Text(trained.verdict), Text(cost), Text(following))
