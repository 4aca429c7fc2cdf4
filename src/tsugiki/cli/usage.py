"""What is wrong with a command line, in our words: Typer's own are English in every language."""

from typing import Any

import typer

from tsugiki import i18n

# Whichever click Typer was built with.
UsageError: Any = typer.BadParameter.__mro__[1]


def explained(error: Any) -> tuple[str, str]:
    """Code and sentence of a command line that cannot be taken apart.

    Args:
        error: a `UsageError`.
    """
    command = error.ctx.command_path if error.ctx else "tsugiki"
    match type(error).__name__:
        case "NoSuchOption":
            return _worded("cli.no_such_option", option=error.option_name, nearest=_nearest(error), command=command)
        case "MissingParameter":
            return _worded("cli.missing", name=_name(error.param), command=command)
        case "BadOptionUsage":
            code = "cli.takes_no_value" if _is_flag(error) else "cli.needs_value"
            return _worded(code, option=error.option_name, command=command)
        case "BadParameter":
            found, wanted = _found_and_wanted(error)
            return _worded("cli.bad_value", name=_name(error.param), found=found, wanted=wanted, command=command)
        case _:
            return _worded("cli.usage", reason=error.message.rstrip("."), command=command)


def _worded(code: str, **facts: object) -> tuple[str, str]:
    return code, i18n.text(code, **facts)


def _name(parameter: Any) -> str:
    if parameter is None:
        return "-"
    return str(parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar or parameter.name.upper())


def _nearest(error: Any) -> str:
    from tsugiki.spec import nearest

    options = error.ctx.command.get_params(error.ctx) if error.ctx else ()
    return ", ".join(error.possibilities or [nearest(error.option_name, (o.opts[0] for o in options))])


def _is_flag(error: Any) -> bool:
    options = error.ctx.command.params if error.ctx else ()
    return any(error.option_name in option.opts and getattr(option, "is_flag", False) for option in options)


def _found_and_wanted(error: Any) -> tuple[str, str]:
    """What was given, and what might have been: Typer has values checked by pydantic, which says both."""
    from pydantic import ValidationError

    from tsugiki.spec import wanted

    if not isinstance(error.__cause__, ValidationError):
        return "-", str(error.message).rstrip(".")
    fault = dict(error.__cause__.errors()[0])
    choices = getattr(getattr(error.param, "type_descriptor", None), "choices", None)
    return repr(fault["input"]), ", ".join(map(str, choices)) if choices else wanted(fault)
