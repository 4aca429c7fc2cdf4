"""A hook of MkDocs: the reference pages and the table of contents, made from the code while the site is built.

The reference pages live in memory only, so none of them can be committed or go stale.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from tsugiki import i18n
from tsugiki.errors import TsugikiError

SECTIONS = {"tutorial": "Tutorial", "how-to": "How to", "explanation": "Explanation"}
LATER = {"decisions": "Decisions", "ja": "日本語"}
LANGUAGES = {"en": "English", "ja": "日本語"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List every page: the front page, the sections in reading order, the rest."""
    docs = Path(config.docs_dir)
    folders = [d.name for d in docs.iterdir() if d.is_dir() and any(d.rglob("*.md"))]
    others = {name: name.capitalize() for name in sorted(folders) if name not in SECTIONS | LATER}
    top = [page.name for page in docs.glob("*.md")]
    config.nav = [
        *sorted(page for page in top if page == "index.md"),
        *({title: _pages(docs, name)} for name, title in SECTIONS.items() if name in folders),
        {"Reference": list(PAGES)},
        *({title: _pages(docs, name)} for name, title in (others | LATER).items() if name in folders),
        *sorted(page for page in top if page != "index.md"),
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference pages."""
    i18n.use_language("en")
    for path, write in PAGES.items():
        files.append(File.generated(config, path, content="\n".join(write()) + "\n"))
    return files


def errors() -> Iterator[str]:
    """Exit codes, and the text behind every code in every language."""
    yield "# Errors and messages\n"
    yield "Every error has a code to search for, an exit code for scripts and a status for HTTP.\n"
    yield from _table("Error", "Exit code", "HTTP status", "When", rows=_tree(TsugikiError))
    yield "\n`{...}` stands for what is filled in.\n"
    names = sorted(i18n.languages(), key=lambda name: (name != i18n.FALLBACK, name))
    codes = i18n.catalogue(i18n.FALLBACK)
    for section in sorted({code.partition(".")[0] for code in codes}):
        yield f"\n## {section}\n"
        rows = (
            [f"`{code}`", *(i18n.catalogue(name).get(code, "") for name in names)]
            for code in codes
            if code.partition(".")[0] == section
        )
        yield from _table("Code", *(LANGUAGES.get(name, name) for name in names), rows=rows)


def configuration() -> Iterator[str]:
    """Every setting, its type, default and meaning."""
    yield "# Configuration\n"
    yield from _settings(import_module("tsugiki.train.config").Config, "")


def cli() -> Iterator[str]:
    """Every command with its arguments."""
    yield "# Command line\n"
    from typer.main import get_command

    yield from _command(get_command(import_module("tsugiki.cli.main").app), None, "tsugiki")


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "reference/cli.md": cli,
    "reference/configuration.md": configuration,
    "reference/errors.md": errors,
}


def _pages(docs: Path, folder: str) -> list[str]:
    found = (page.relative_to(docs).as_posix() for page in (docs / folder).rglob("*.md"))
    return sorted(found, key=lambda page: (not page.endswith("/index.md"), page))


def _table(*head: str, rows: Iterator[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_cell(text) for text in row)} |"


def _cell(text: str) -> str:
    line = " ".join(text.split())
    return line if line.startswith("`") else line.replace("|", "&#124;").replace("<", "&lt;")


def _tree(kind: type[TsugikiError]) -> Iterator[list[str]]:
    for child in kind.__subclasses__():
        yield [f"`{child.__name__}`", str(child.exit_code), str(child.http_status), inspect.getdoc(child) or ""]
        yield from _tree(child)


def _settings(model: type[BaseModel], where: str) -> Iterator[str]:
    text = inspect.getdoc(model) or ""
    if where:
        yield f"\n## {where}\n"
    yield text.partition("\n\n")[0] + "\n"
    meanings = dict(re.findall(r"^    (\w+): (.+(?:\n     .+)*)", text, flags=re.MULTILINE))
    rows = (
        [f"`{name}`", f"`{_type(field.annotation)}`", _default(field), field.description or meanings.get(name, "")]
        for name, field in model.model_fields.items()
    )
    yield from _table("Setting", "Type", "Default", "Meaning", rows=rows)
    for name, field in model.model_fields.items():
        for part in _models(field.annotation):
            yield from _settings(part, f"{where}.{name}".lstrip("."))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _type(annotation: Any) -> str:
    plain = inspect.isclass(annotation) and not get_args(annotation)
    return annotation.__name__ if plain else re.sub(r"\b(\w+\.)+", "", str(annotation))


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    return "see below" if isinstance(value, BaseModel) else f"`{value!r}`"


def _command(command: Any, above: Any, name: str) -> Iterator[str]:
    """One command of the tree, then those below it; works on whichever click the command was built with."""
    context = command.context_class(command, info_name=name, parent=above)
    if above is not None:
        yield f"\n## {context.command_path}\n"
    yield inspect.cleandoc(command.help or "") + "\n"
    yield f"```\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    records = [record for p in command.get_params(context) if (record := p.get_help_record(context))]
    yield from _table("Argument", "Meaning", rows=([f"`{usage}`", meaning] for usage, meaning in records))
    for child in command.list_commands(context) if hasattr(command, "list_commands") else []:
        yield from _command(command.get_command(context, child), context, child)
