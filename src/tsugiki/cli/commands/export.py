"""`tsugiki export`: write an adapter in the format of another library."""

from typing import Annotated, Literal

import typer

from tsugiki.cli.answer import Answer
from tsugiki.cli.options import AdapterArgument, BaseOption, OutOption
from tsugiki.i18n import text as say

EXAMPLE = "tsugiki export tickets-adapter --format peft --out tickets-peft"


def run(
    folder: AdapterArgument,
    out: OutOption,
    format: Annotated[Literal["peft"], typer.Option("--format", metavar="FORMAT")] = "peft",
    base: BaseOption = None,
) -> Answer:
    """Write the adapter so that `peft.PeftModel.from_pretrained` loads it."""
    from tsugiki.adapt.package import load_package
    from tsugiki.adapt.peft import export_peft
    from tsugiki.base.model import load_base

    package = load_package(folder)
    # Digests are taken from bfloat16, and nothing is computed here.
    export_peft(package, load_base(base or package.manifest.base.name, precision="bf16"), out)
    return Answer({"out": str(out), "format": format}, say("cli.export.done", out=out))
