"""A command is a file in `commands/` with a function `run`, whose parameters are its arguments and options.

`run` returns an `Answer`, or yields several; printing them, `--json`, `--lang`, help texts and errors are dealt with
here for all commands. Help texts come from the catalogue, under `cli.summary.COMMAND` and `cli.COMMAND.OPTION`, or
`cli.option.OPTION` where it means the same in every command.

A folder in `commands/` is a word with further commands behind it: `cache/purge.py` is `tsugiki cache purge`, and its
texts are under `cli.summary.cache_purge` and `cli.cache_purge.OPTION`.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module, resources
from itertools import pairwise
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from tsugiki import i18n
from tsugiki.cli import edge, help
from tsugiki.cli.answer import show
from tsugiki.cli.usage import UsageError
from tsugiki.errors import ConfigError

_PACKAGE = "tsugiki.cli.commands"
# In the order in which they are needed; commands that are not named here follow, by name.
_ORDER = (
    *("demo", "data", "advise", "plan", "train", "predict", "compose", "explain", "audit", "evaluate"),
    *("compare", "ablate"),
    *("inspect", "export", "import", "cache", "doctor"),
)


class Command(TyperCommand):
    """One command, with a help page in the language in force."""

    words: str = ""

    # Or Typer would refuse arguments too many in English.
    allow_extra_args = True

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the command line apart.

        Raises:
            ConfigError: there are arguments too many.
        """
        try:
            beyond: list[str] = super().parse_args(ctx, args)
        except UsageError as error:
            error.ctx = error.ctx or ctx
            raise
        if beyond:
            raise ConfigError("cli.too_many", found=" ".join(beyond), command=ctx.command_path)
        return beyond

    def get_params(self, ctx: Any) -> Any:
        """Arguments and options, each with its text."""
        return _explained(super().get_params(ctx), self.words)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        formatter.write(help.page(self, ctx))


class Commands(TyperGroup):
    """The commands behind some words, found by their file names; behind none, all."""

    words: str = ""

    def get_params(self, ctx: Any) -> Any:
        """Options, each with its text."""
        return _explained(super().get_params(ctx), self.words)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (Typer's contract)
        """Names, without importing any."""
        return names(self.words)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 (Typer's contract)
        """Import and build one command.

        Raises:
            ConfigError: there is none of that name.
        """
        known = names(self.words)
        if cmd_name not in known:
            from tsugiki.spec import nearest

            facts = {"allowed": ", ".join(known), "nearest": nearest(cmd_name, known)}
            raise ConfigError("cli.no_such_command", found=cmd_name, **facts)
        return build(f"{self.words} {cmd_name}".lstrip())

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        self.help = _summary(self.words) if self.words else i18n.text("cli.about")
        commands = [(name, _summary(f"{self.words} {name}".lstrip())) for name in names(self.words)]
        formatter.write(help.page(self, ctx, commands))

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Run the command line `args`, or the one of this process, and exit."""
        line = list(sys.argv[1:] if args is None else args)

        def run() -> None:
            _choose_language(line)
            with self.make_context("tsugiki", line) as context:
                self.invoke(context)

        sys.exit(edge.guard(run, as_json="--json" in line))


def names(words: str = "") -> list[str]:
    """What may follow some words."""
    entries = _place(words).iterdir()
    found = {e.name.removesuffix(".py") for e in entries if e.name.endswith(".py") or e.is_dir()}
    known = {name for name in found if not name.startswith("_")}
    return sorted(known, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))


def lines(words: str = "") -> list[str]:
    """All commands in full, such as `cache purge`."""
    following = [f"{words} {name}".lstrip() for name in names(words)]
    return [line for name in following for line in (lines(name) if _place(name).is_dir() else [name])]


def build(words: str) -> Any:
    """Make a command ready to be called, or a word with further ones behind it; only a command is imported."""
    name = words.rpartition(" ")[2]
    made = typer.Typer(cls=Commands, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    if _place(words).is_dir():
        made.callback(invoke_without_command=True, help=_summary(words))(_menu)
    else:
        module = import_module(f"{_PACKAGE}.{words.replace(' ', '.')}")
        made.command(name, cls=Command, help=_summary(words), epilog=module.EXAMPLE)(_answering(module.run))
    built: Any = get_command(made)
    built.name, built.words = name, words
    return built


def _menu(
    context: typer.Context, lang: Annotated[str | None, typer.Option("--lang", metavar="LANGUAGE")] = None
) -> None:
    del lang  # as in `_answering`
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _place(words: str) -> Any:
    return resources.files(_PACKAGE).joinpath(*words.split())


def _summary(words: str) -> str:
    return i18n.text(f"cli.summary.{words.replace(' ', '_')}")


def _answering(run: Callable[..., Any]) -> Callable[..., None]:
    """`run` with the options that every command has, its answers printed."""

    def command(
        *,
        as_json: Annotated[bool, typer.Option("--json")] = False,
        lang: Annotated[str | None, typer.Option("--lang", metavar="LANGUAGE")] = None,
        **given: Any,
    ) -> None:
        del lang  # chosen before the command line is taken apart, or help and errors would not speak it
        show(run(**given), as_json=as_json)

    own, shared = inspect.signature(run), inspect.signature(command)
    common = [shared.parameters[name] for name in ("as_json", "lang")]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own.parameters.values(), *common)]
    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


def _explained(parameters: list[Any], words: str) -> list[Any]:
    """Put texts of the catalogue where the help page and the reference look for them."""
    for parameter in parameters:
        spelled = max(parameter.opts, key=len).lstrip("-")
        own, common = f"cli.{words.replace(' ', '_')}.{spelled}", f"cli.option.{spelled}"
        parameter.help = i18n.text(own if own in i18n.catalogue(i18n.FALLBACK) else common)
    return parameters


def _choose_language(line: Sequence[str]) -> None:
    chosen = next(_languages_asked(line), None)
    if chosen is not None and chosen not in i18n.languages():
        raise ConfigError("cli.no_such_language", found=chosen, allowed=", ".join(i18n.languages()))
    i18n.use_language(chosen)


def _languages_asked(line: Sequence[str]) -> Iterator[str]:
    for word, following in pairwise([*line, ""]):
        if word == "--":
            return
        if word == "--lang":
            yield following
        elif word.startswith("--lang="):
            yield word.partition("=")[2]
