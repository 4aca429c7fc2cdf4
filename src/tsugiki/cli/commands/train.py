"""`tsugiki train`: learn from rows and save an adapter."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsugiki.cli.answer import Answer, table
from tsugiki.cli.options import (
    AddedLatencyOption,
    BaseOption,
    ConfigOption,
    DomainsOption,
    EncodingOption,
    ForceOption,
    LabelOption,
    MergeOption,
    MinScoreOption,
    NoCacheOption,
    OutOption,
    PackageBytesOption,
    PairOption,
    ParamsOption,
    PeakBytesOption,
    PlacementOption,
    PrecisionOption,
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
    from rich.table import Table

    from tsugiki.manifest import Manifest
    from tsugiki.review import Review
    from tsugiki.train.run import Trained

EXAMPLE = "tsugiki train tickets.csv --out tickets-adapter"


def run(
    rows: RowsArgument,
    out: OutOption,
    base: BaseOption = None,
    parent: Annotated[Path | None, typer.Option("--from", metavar="DIR")] = None,
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
    placement: PlacementOption = None,
    max_params: ParamsOption = None,
    max_train_s: TrainSecondsOption = None,
    max_added_latency: AddedLatencyOption = None,
    max_peak_bytes: PeakBytesOption = None,
    max_package_bytes: PackageBytesOption = None,
    min_score: MinScoreOption = None,
    prior: PriorOption = None,
    force: ForceOption = False,
    config: ConfigOption = None,
    settings: SettingsOption = None,
) -> Answer:
    """Train, save and tell what was tried and what it cost."""
    from tsugiki.api import train_and_report

    named: Any = {"text": text, "pair": pair, "task": task, "label": label, "sheet": sheet, "encoding": encoding}
    named["domains"] = domains
    chosen = settings_of(
        settings,
        force=force,
        merge_labels=merge_labels,
        no_cache=no_cache,
        target_precision=target_precision,
        placement=placement,
        max_params=max_params,
        max_train_s=max_train_s,
        max_added_latency=max_added_latency,
        max_peak_bytes=max_peak_bytes,
        max_package_bytes=max_package_bytes,
        min_score=min_score,
        prior=prior,
    )
    whole: Any = {"base": base, "out": out, "parent": parent, "config": config, "settings": chosen}
    if _writes(task, parent, config, chosen):
        from tsugiki.cli import writing
        from tsugiki.writers import train_writer_and_report

        for_labels = {"--pair": pair, "--domains": domains, "--merge-labels": merge_labels}
        writing.refuse("writing.not_for_writers", out, for_labels | {"--target-precision": target_precision})
        writer = train_writer_and_report(rows, **named, **whole)
        return Answer({"out": str(out), **writing.bill(writer)}, writing.page(writer, out))
    trained = train_and_report(rows, **named, **whole)
    return Answer({"out": str(out), **bill(trained)}, page(trained, out))


def _writes(task: str | None, parent: Path | None, config: Path | None, settings: dict[str, str]) -> bool:
    """Whether the adapter is to write, by the task that is named, or by that of the one it goes on from."""
    from tsugiki.train.config import read_config
    from tsugiki.writers import is_writer
    from tsugiki.writing.writing import writes

    if task is None and parent is not None:
        return is_writer(parent)
    return writes(read_config(config, settings).data.task if task is None else task)


def bill(trained: "Trained") -> dict[str, object]:
    """What was tried, what it cost and what came of it, for programs."""
    manifest = trained.adapter.manifest
    return {
        "name": manifest.name,
        "variant": manifest.variant,
        "verdict": trained.verdict,
        "candidates": [candidate.facts() for candidate in trained.candidates],
        "seconds": trained.seconds,
        "saved_s": trained.saved_s,
        "automatic": manifest.review.rule()._asdict() if manifest.review else None,
        "predicted_s": trained.predicted_s,
        "measured_s": trained.measured_s,
        "forecasts": {
            name: {k: v.model_dump() for k, v in costs.items()} for name, costs in manifest.forecasts.items()
        },
        "routing": {c.variant: c.routing.metrics for c in trained.candidates if c.routing},
        "controls": [control.model_dump() | {"verdict": control.verdict} for control in manifest.controls],
    }


def page(trained: "Trained", out: Path) -> "RenderableType":
    """The same for people, and what to do next."""
    from rich.console import Group
    from rich.text import Text

    winner = trained.adapter.manifest.variant
    lines = [
        trained.verdict,
        handed_over(trained.adapter.manifest.review),
        say("cli.train.cost", total=trained.seconds["total"], cache=trained.seconds["cache"]),
        *([say("cli.train.saved", saved=trained.saved_s)] if trained.saved_s else []),
        *_placed(trained.adapter.manifest),
        say("cli.train.next", out=out),
    ]
    tried = candidates([candidate.facts() for candidate in trained.candidates], winner)
    return Group(tried, *map(Text, lines))


def _placed(manifest: "Manifest") -> Iterator[str]:
    """How a chosen placement did against its forecast and its controls; nothing where none was chosen."""
    from tsugiki.report.card import control_sentence

    for variant, costs in manifest.forecasts.items():
        train_s, latency, peak = costs["train_s"], costs["latency_ms"], costs["peak_bytes"]
        told = {
            "predicted_s": train_s.predicted,
            "predicted_ms": latency.predicted,
            "predicted_mb": peak.predicted / 1e6,
        }
        came = {"measured_s": train_s.measured, "measured_ms": latency.measured, "measured_mb": peak.measured / 1e6}
        yield say("cli.train.forecast", variant=variant, **told, **came)
    yield from map(control_sentence, manifest.controls)


def handed_over(review: "Review | None") -> str:
    """How many answers may be used unseen, as far as validation tells."""
    if review is None:
        return say("cli.train.no_review")
    rule = review.rule()
    key = "automatic" if rule.proven else "hardly_automatic" if rule.share else "nothing_automatic"
    return say(f"cli.train.{key}", wanted=100 * review.wanted, share=100 * rule.share, rows=review.num_rows)


def candidates(tried: Sequence[Mapping[str, Any]], winner: str) -> "Table":
    """All candidates of a run; a star marks the one that won."""
    columns = [say(f"cli.column.{name}") for name in ("variant", "validation", "seconds", "predicted", "parameters")]
    rows = [
        (
            f"{candidate.get('variant')} *" if candidate.get("variant") == winner else candidate.get("variant"),
            candidate.get("score"),
            candidate.get("train_s"),
            candidate.get("predicted_s") or None,
            candidate.get("num_trainable"),
        )
        for candidate in tried
    ]
    return table(*columns, rows=rows)
