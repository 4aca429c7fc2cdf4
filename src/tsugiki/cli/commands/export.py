"""`tsugiki export`: write an adapter in the format of other programs."""

from typing import Annotated

import typer

from tsugiki.cli.answer import Answer
from tsugiki.cli.options import AdapterArgument, BaseOption, OutOption
from tsugiki.i18n import text as say

EXAMPLE = "tsugiki export tickets-adapter --format onnx --out tickets-onnx"


def run(
    folder: AdapterArgument,
    out: OutOption,
    format: Annotated[str, typer.Option("--format", metavar="FORMAT")] = "peft",
    base: BaseOption = None,
) -> Answer:
    """Write the adapter, and say which programs take it."""
    from tsugiki.export import README, export, format_of

    chosen = format_of(format)
    from tsugiki.adapt.package import load_package

    runners = list(export(load_package(folder), chosen, out, base))
    told = say("cli.export.done", out=out, runners=", ".join(runners), readme=out / README)
    return Answer({"out": str(out), "format": format, "runners": runners}, told)
