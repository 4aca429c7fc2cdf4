"""Arguments and options that several commands share."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from tsugiki.errors import ConfigError

RowsArgument: TypeAlias = Annotated[str, typer.Argument(metavar="ROWS")]
AdapterArgument: TypeAlias = Annotated[Path, typer.Argument(metavar="DIR")]
BaseOption: TypeAlias = Annotated[str | None, typer.Option("--base", metavar="BASE")]
TextOption: TypeAlias = Annotated[str | None, typer.Option("--text", metavar="COLUMN")]
PairOption: TypeAlias = Annotated[str | None, typer.Option("--pair", metavar="COLUMN")]
TaskOption: TypeAlias = Annotated[str | None, typer.Option("--task", metavar="TASK")]
LabelOption: TypeAlias = Annotated[str | None, typer.Option("--label", metavar="COLUMN")]
DomainsOption: TypeAlias = Annotated[str | None, typer.Option("--domains", metavar="COLUMN")]
SheetOption: TypeAlias = Annotated[str | None, typer.Option("--sheet", metavar="SHEET")]
EncodingOption: TypeAlias = Annotated[str | None, typer.Option("--encoding", metavar="ENCODING")]
ForceOption: TypeAlias = Annotated[bool, typer.Option("--force")]
MergeOption: TypeAlias = Annotated[bool, typer.Option("--merge-labels")]
NoCacheOption: TypeAlias = Annotated[bool, typer.Option("--no-cache")]
PrecisionOption: TypeAlias = Annotated[float | None, typer.Option("--target-precision", metavar="SHARE", min=0, max=1)]
PlacementOption: TypeAlias = Annotated[str | None, typer.Option("--placement", metavar="STRATEGY")]
ParamsOption: TypeAlias = Annotated[str | None, typer.Option("--max-params", metavar="SHARE")]
TrainSecondsOption: TypeAlias = Annotated[str | None, typer.Option("--max-train-s", metavar="SECONDS")]
AddedLatencyOption: TypeAlias = Annotated[str | None, typer.Option("--max-added-latency", metavar="SHARE")]
PeakBytesOption: TypeAlias = Annotated[str | None, typer.Option("--max-peak-bytes", metavar="SIZE")]
MinScoreOption: TypeAlias = Annotated[str | None, typer.Option("--min-score", metavar="SHARE")]
PackageBytesOption: TypeAlias = Annotated[str | None, typer.Option("--max-package-bytes", metavar="SIZE")]
PriorOption: TypeAlias = Annotated[Path | None, typer.Option("--prior", metavar="FILE")]
ConfigOption: TypeAlias = Annotated[Path | None, typer.Option("--config", metavar="FILE")]
SettingsOption: TypeAlias = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")]
OutOption: TypeAlias = Annotated[Path, typer.Option("--out", metavar="DIR")]

_AUTO, _CHOOSES = "auto", "evidence"


def settings_of(
    pairs: Sequence[str] | None,
    *,
    force: bool = False,
    merge_labels: bool = False,
    no_cache: bool = False,
    target_precision: float | None = None,
    placement: str | None = None,
    prior: Path | None = None,
    **budget: str | None,
) -> dict[str, str]:
    """`KEY=VALUE` pairs as settings, and what the options stand for that are short for a setting.

    A budget without a strategy is for the one that keeps to it.

    Raises:
        ConfigError: a pair has no `=`.
    """
    for pair in pairs or ():
        if "=" not in pair:
            raise ConfigError("cli.bad_setting", found=pair)
    found = {key.strip(): value for key, _, value in (pair.partition("=") for pair in pairs or ())}
    short = (
        (force, "data.illegible", "warn"),
        (merge_labels, "data.merge_labels", "true"),
        (no_cache, "cache.enabled", "false"),
        (prior is not None, "placement.prior", json.dumps(str(prior))),
        (target_precision is not None, "train.target_precision", str(target_precision)),
    )
    limits = {f"budget.{name}": value for name, value in budget.items() if value is not None}
    strategy = placement or (_AUTO if limits else None)
    chosen = {"placement.strategy": _CHOOSES if strategy == _AUTO else strategy} if strategy else {}
    return found | {key: value for given, key, value in short if given} | limits | chosen
