"""Arguments and options that several commands share."""

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
SheetOption: TypeAlias = Annotated[str | None, typer.Option("--sheet", metavar="SHEET")]
EncodingOption: TypeAlias = Annotated[str | None, typer.Option("--encoding", metavar="ENCODING")]
ForceOption: TypeAlias = Annotated[bool, typer.Option("--force")]
PrecisionOption: TypeAlias = Annotated[float | None, typer.Option("--target-precision", metavar="SHARE", min=0, max=1)]
ConfigOption: TypeAlias = Annotated[Path | None, typer.Option("--config", metavar="FILE")]
SettingsOption: TypeAlias = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")]
OutOption: TypeAlias = Annotated[Path, typer.Option("--out", metavar="DIR")]


def settings_of(
    pairs: Sequence[str] | None, *, force: bool = False, target_precision: float | None = None
) -> dict[str, str]:
    """`KEY=VALUE` pairs as settings, and what `--force` and `--target-precision` stand for.

    Raises:
        ConfigError: a pair has no `=`.
    """
    for pair in pairs or ():
        if "=" not in pair:
            raise ConfigError("cli.bad_setting", found=pair)
    found = {key.strip(): value for key, _, value in (pair.partition("=") for pair in pairs or ())}
    if force:
        found["data.illegible"] = "warn"
    if target_precision is not None:
        found["train.target_precision"] = str(target_precision)
    return found
