"""The edge of the command line: what comes out of it, well or badly, comes out as one sentence and an exit code."""

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from tsugiki import i18n
from tsugiki.cli.answer import to_json
from tsugiki.errors import TsugikiError
from tsugiki.hub.secrets import hide

# Whichever click Typer was built with.
_UsageError: Any = typer.BadParameter.__mro__[1]

_INTERRUPTED, _BROKEN_PIPE, _UNEXPECTED = 130, 141, 70
_QUIET = {
    "DATASETS_VERBOSITY": "error",
    "DO_NOT_TRACK": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def guard(run: Callable[[], None], *, as_json: bool) -> int:
    """Run a command line and return its exit code; nothing it raises gets past here."""
    _make_streams_forgiving()
    try:
        with _only_our_voice():
            run()
        return 0
    except TsugikiError as error:
        return _fail(error.code, str(error), error.exit_code, as_json=as_json)
    except typer.Exit as error:
        return error.exit_code
    except _UsageError as error:
        return _fail(*_usage(error), 2, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("cli.interrupted", i18n.text("cli.interrupted"), _INTERRUPTED, as_json=as_json)
    except BrokenPipeError:
        # Whoever read us (`| head`) has enough; Python must not complain of it while it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except MemoryError:
        return _fail("cli.memory", i18n.text("cli.memory"), 1, as_json=as_json)
    except OSError as error:
        reason = error.strerror or str(error)
        sentence = i18n.text("cli.system", path=error.filename or "-", reason=reason)
        return _fail("cli.system", sentence, 1, as_json=as_json)
    except Exception as error:  # noqa: BLE001 (the edge: everything ends here)
        reason = " ".join(str(error).split())[:300]
        sentence = i18n.text("cli.unexpected", kind=type(error).__name__, reason=reason)
        return _fail("cli.unexpected", sentence, _UNEXPECTED, as_json=as_json)


def say(sentence: str, *, label: str = "", style: str = "") -> None:
    """Tell a person something on stderr, on one line whatever the width, and without tokens and passwords."""
    from rich.console import Console
    from rich.text import Text

    sentence = hide(sentence)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble((label, style), sentence) if label else Text(sentence, style=style))


def _fail(code: str, sentence: str, exit_code: int, *, as_json: bool) -> int:
    if os.environ.get("TSUGIKI_DEBUG"):
        sys.stderr.write(hide(traceback.format_exc()))
    if as_json:
        print(to_json({"error": {"code": code, "message": hide(sentence)}}), flush=True)
    else:
        say(f" {sentence}", label=f"error[{code}]:", style="bold red")
    return exit_code


def _usage(error: Any) -> tuple[str, str]:
    """Code and sentence of a command line that cannot be taken apart."""
    command = error.ctx.command_path if error.ctx else "tsugiki"
    name = _name(getattr(error, "param", None))
    match type(error).__name__:
        case "NoSuchOption":
            near = ", ".join(error.possibilities or ()) or "-"
            return _worded("cli.no_such_option", option=error.option_name, nearest=near, command=command)
        case "MissingParameter":
            return _worded("cli.missing", name=name, command=command)
        case "BadParameter":
            return _worded("cli.bad_value", name=name, reason=error.message.rstrip("."), command=command)
        case _:
            return _worded("cli.usage", reason=error.message.rstrip("."), command=command)


def _worded(code: str, **facts: object) -> tuple[str, str]:
    return code, i18n.text(code, **facts)


def _name(parameter: Any) -> str:
    if parameter is None:
        return "-"
    return str(parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar or parameter.name.upper())


class _Notices(logging.Handler):
    """Notices of tsugiki as plain lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            say(f" {record.getMessage()}", label=i18n.text("cli.warning"), style="yellow")
        else:
            say(record.getMessage(), style="dim")


@contextmanager
def _only_our_voice() -> Iterator[None]:
    """Show what tsugiki has to say and keep other libraries, and telemetry, silent."""
    for variable, value in _QUIET.items():
        os.environ.setdefault(variable, value)
    if not sys.stderr.isatty():  # a large download is worth a bar, but not in a log file
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    ours, root, notices, silence = logging.getLogger("tsugiki"), logging.getLogger(), _Notices(), logging.NullHandler()
    level = ours.level
    ours.addHandler(notices)
    ours.setLevel(logging.INFO)
    root.addHandler(silence)
    try:
        with warnings.catch_warnings():
            if not os.environ.get("TSUGIKI_DEBUG"):
                warnings.simplefilter("ignore")
            yield
    finally:
        ours.removeHandler(notices)
        ours.setLevel(level)
        root.removeHandler(silence)


def _make_streams_forgiving() -> None:
    """A console without UTF-8 shows `?` for what it lacks, and nothing crashes."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
