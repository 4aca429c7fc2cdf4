"""The contract of an export: an adapter as files that other programs run.

A format is one file in `exports/`, called as `--format` calls it. Torch-free until something is written, so that a name
that is not known is told at once.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tsugiki.errors import ConfigError
from tsugiki.family import Family
from tsugiki.spec import Spec, nearest

if TYPE_CHECKING:
    from tsugiki.adapt.package import Package
    from tsugiki.base.model import Base

FACTS, README = "export.json", "README.md"


class Export(Spec):
    """One format. What it cannot hold is refused by name, with the next step."""

    kind: str

    def check(self, package: "Package") -> None:
        """Refuse what can be seen without a base.

        Raises:
            ExportError: the format cannot hold the package.
            MissingError: what writes the format is not installed.
        """
        raise NotImplementedError(type(self).__name__)

    def open_base(self, package: "Package", name: str) -> "Base":
        """As much of the base as the format needs, loaded for this alone: `write` may change it."""
        raise NotImplementedError(type(self).__name__)

    def write(self, package: "Package", base: "Base", folder: Path) -> dict[str, str]:
        """Write the files.

        Args:
            package: what is exported.
            base: that it belongs to.
            folder: an empty one.

        Returns:
            The programs that take the files, and how each loads them; `FOLDER` stands for the folder.

        Raises:
            ExportError: the format cannot hold the package on this base, or the files give other answers.
            PackageError: the package does not belong to the base.
        """
        raise NotImplementedError(type(self).__name__)


EXPORTS: Family[Export] = Family("tsugiki.exports", Export)


def format_of(name: str) -> Export:
    """A format by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    known = EXPORTS.names()
    if name not in known:
        facts = {"allowed": ", ".join(known), "nearest": nearest(name, known)}
        raise ConfigError("export.no_such_format", found=name, **facts)
    return EXPORTS.parse({"kind": name})


def export(package: "Package", format: Export, out: Path, base: str | None = None) -> dict[str, str]:
    """Write an adapter in the format of other programs; the folder is there when all went well, or not at all.

    Beside the files of the format it holds a `README.md` for people and `export.json` for programs.

    Args:
        package: what is exported.
        format: the one to write.
        out: the folder; an earlier export is replaced.
        base: where the base is; None takes the one that the package was trained on.

    Returns:
        The programs that take the files, and how each loads them; `FOLDER` stands for the folder.

    Raises:
        ExportError: the format cannot hold the package, or the files give other answers.
        PackageError: the package does not belong to the base, or something else is at the folder.
        MissingError: the base, or what writes the format, is not there.
        SpaceError: the disk is full.
    """
    from tsugiki.adapt.package_checks import require_ungrouped
    from tsugiki.drafts import drafted
    from tsugiki.report.card import export_card

    require_ungrouped(package, f"export --format {format.kind}")
    format.check(package)
    with drafted(out, _replaceable(out)) as draft:
        runners = format.write(package, format.open_base(package, base or package.manifest.base.name), draft)
        (draft / README).write_text(export_card(package.manifest, format.kind, runners), encoding="utf-8")
        files = sorted(file.name for file in draft.iterdir())
        (draft / FACTS).write_text(json.dumps(_facts(package, format, files), indent=1), encoding="utf-8")
    return runners


def _facts(package: "Package", format: Export, files: list[str]) -> dict[str, object]:
    """What a program has to know: labels in the order of the logits, and what is done to a text before it is read."""
    from tsugiki.data.texts import NORMALISED

    task = package.manifest.task
    return {
        "format": format.kind,
        "name": package.manifest.name,
        "package": package.digest,
        "base": package.manifest.base.name,
        "labels": task.get("labels"),
        "task": task,
        "max_length": task.get("max_length"),
        "normalised": NORMALISED,
        "files": files,
    }


def _replaceable(out: Path) -> tuple[str, ...]:
    """What an earlier export says that it wrote; a folder that does not say so is somebody else's."""
    try:
        return FACTS, *map(str, json.loads((out / FACTS).read_bytes())["files"])
    except (OSError, ValueError, TypeError, KeyError):
        return (FACTS,)
