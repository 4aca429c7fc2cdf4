"""A command is a file in `commands/` with a function `run`, whose parameters are its arguments and options.

`run` returns an `Answer`, or yields several; printing them, `--json`, `--lang`, help texts and errors are dealt with
here for all commands. Help texts come from the catalogue, under `cli.summary.COMMAND` and `cli.COMMAND.OPTION`, or
`cli.option.OPTION` where it means the same in every command.
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
_ORDER = ["demo", "train", "predict", "evaluate", "compare", "inspect", "export", "import", "doctor"]


class Command(TyperCommand):
    """One command, with a help page in the language in force."""

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
        return _explained(super().get_params(ctx), self.name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        formatter.write(help.page(self, ctx))


class Commands(TyperGroup):
    """All commands, found by their file names."""

    def get_params(self, ctx: Any) -> Any:
        """Options, each with its text."""
        return _explained(super().get_params(ctx), None)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (Typer's contract)
        """Names, without importing any."""
        return names()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 (Typer's contract)
        """Import and build one command.

        Raises:
            ConfigError: there is none of that name.
        """
        if cmd_name not in names():
            from tsugiki.spec import nearest

            facts = {"allowed": ", ".join(names()), "nearest": nearest(cmd_name, names())}
            raise ConfigError("cli.no_such_command", found=cmd_name, **facts)
        return build(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        self.help = i18n.text("cli.about")
        commands = [(name, i18n.text(f"cli.summary.{name}")) for name in names()]
        formatter.write(help.page(self, ctx, commands))

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Run the command line `args`, or the one of this process, and exit."""
        line = list(sys.argv[1:] if args is None else args)

        def run() -> None:
            _choose_language(line)
            with self.make_context("tsugiki", line) as context:
                self.invoke(context)

        sys.exit(edge.guard(run, as_json="--json" in line))


def names() -> list[str]:
    """Names of all commands."""
    files = (file.name for file in resources.files(_PACKAGE).iterdir())
    found = {name.removesuffix(".py") for name in files if name.endswith(".py") and not name.startswith("_")}
    return sorted(found, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))


def build(name: str) -> Any:
    """Import one command and make it ready to be called."""
    module = import_module(f"{_PACKAGE}.{name}")
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    summary = i18n.text(f"cli.summary.{name}")
    alone.command(name, cls=Command, help=summary, epilog=module.EXAMPLE)(_answering(module.run))
    return get_command(alone)


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


def _explained(parameters: list[Any], name: str | None) -> list[Any]:
    """Put texts of the catalogue where the help page and the reference look for them."""
    for parameter in parameters:
        spelled = max(parameter.opts, key=len).lstrip("-")
        own, common = f"cli.{name}.{spelled}", f"cli.option.{spelled}"
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
