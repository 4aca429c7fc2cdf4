"""`tsugiki inspect`: what a package says of itself, without loading anything."""

from pathlib import Path
from typing import TYPE_CHECKING

from tsugiki.cli.answer import Answer, table
from tsugiki.cli.commands.train import candidates
from tsugiki.cli.options import AdapterArgument
from tsugiki.composition import Composition
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
    if (folder / "composition.json").is_file():
        return _set(folder)
    path = folder / "adapter.json"
    if not path.is_file():
        raise MissingError("package.no_manifest", path=path)
    manifest = Manifest.from_bytes(path.read_bytes(), path=path)
    num_bytes = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    told = {"digest": manifest.digest(), "num_bytes": num_bytes, **manifest.model_dump(mode="json")}
    return Answer(told, _page(manifest, num_bytes))


def _set(folder: Path) -> Answer:
    """A set of adapters: its members, with what each says of itself in short."""
    path = folder / "composition.json"
    composition = Composition.from_bytes(path.read_bytes(), path=path)
    lines = []
    for member in composition.members:
        place = folder / member.folder / "adapter.json"
        if not place.is_file():
            raise MissingError("package.no_manifest", path=place)
        manifest = Manifest.from_bytes(place.read_bytes(), path=place)
        lines.append((member.name, manifest.variant, len(manifest.data.class_counts), f"sha256:{member.package[:16]}"))
    columns = (say(f"cli.column.{name}") for name in ("adapter", "variant", "classes", "digest"))
    told = {"digest": composition.digest(), **composition.model_dump(mode="json")}
    return Answer(told, table(*columns, rows=lines))


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
