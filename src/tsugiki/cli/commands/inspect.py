"""`tsugiki inspect`: what a package says of itself, without loading anything."""

from typing import TYPE_CHECKING

from tsugiki.cli.answer import Answer, table
from tsugiki.cli.commands.train import candidates
from tsugiki.cli.options import AdapterArgument
from tsugiki.errors import MissingError
from tsugiki.i18n import text as say
from tsugiki.manifest import Manifest
from tsugiki.report.facts import facts

if TYPE_CHECKING:
    from rich.console import RenderableType

EXAMPLE = "tsugiki inspect tickets-adapter"


def run(folder: AdapterArgument) -> Answer:
    """Read the manifest and lay it out.

    Raises:
        MissingError: there is no package.
        PackageError: its manifest is damaged.
    """
    if not folder.is_dir():
        raise MissingError("package.no_folder", path=folder)
    path = folder / "adapter.json"
    if not path.is_file():
        raise MissingError("package.no_manifest", path=path)
    manifest = Manifest.from_bytes(path.read_bytes(), path=path)
    num_bytes = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    told = {"digest": manifest.digest(), "num_bytes": num_bytes, **manifest.model_dump(mode="json")}
    return Answer(told, _page(manifest, num_bytes))


def _page(m: Manifest, num_bytes: int) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    size = {"name": m.name, "digest": f"sha256:{m.digest()}", "size": f"{num_bytes / 1e6:,.2f} MB"}
    lines = Table.grid(padding=(0, 2))
    for name, value in (size | facts(m)).items():
        lines.add_row(Text(say(f"cli.fact.{name}"), style="cyan"), Text(value))
    tried = candidates(m.candidates, m.variant)
    classes = table(say("cli.column.label"), say("cli.column.training_rows"), rows=sorted(m.data.class_counts.items()))
    return Group(lines, *([tried] if m.candidates else []), *([classes] if m.data.class_counts else []))
