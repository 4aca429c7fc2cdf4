"""The command `tsugiki`. Only the command that is called is imported, so that `--help` answers at once."""

from typing import Annotated

import typer

from tsugiki.cli.command import Commands
from tsugiki.i18n import text

app = typer.Typer(cls=Commands, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True, help=text("cli.about"))
def tsugiki(
    context: typer.Context,
    lang: Annotated[str | None, typer.Option("--lang", metavar="LANGUAGE")] = None,
    version: Annotated[bool, typer.Option("--version")] = False,
) -> None:
    """Show the version, or the help where no command is named."""
    del lang  # see `cli.command`
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"tsugiki {version_of('tsugiki')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line."""
    app()
