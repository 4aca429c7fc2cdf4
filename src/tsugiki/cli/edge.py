"""The edge of the command line: what comes out of it, well or badly, comes out as one sentence and an exit code."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from tsugiki import i18n
from tsugiki.cli import usage
from tsugiki.cli.answer import to_json
from tsugiki.errors import TsugikiError, reason_of
from tsugiki.faults import place, trace
from tsugiki.hub.secrets import hide

_INTERRUPTED, _BROKEN_PIPE, _UNEXPECTED = 130, 141, 70
_QUIET = {
    "DATASETS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
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
    except usage.UsageError as error:
        return _fail(*usage.explained(error), 2, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("cli.interrupted", i18n.text("cli.interrupted"), _INTERRUPTED, as_json=as_json)
    except BrokenPipeError:
        # Whoever read us (`| head`) has enough; Python must not complain of it while it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except MemoryError:
        return _fail("cli.memory", i18n.text("cli.memory"), 1, as_json=as_json)
    except OSError as error:
        sentence = i18n.text("cli.system", path=error.filename or "-", reason=reason_of(error))
        return _fail("cli.system", sentence, 1, as_json=as_json)
    except Exception as error:  # noqa: BLE001 (the edge: everything ends here)
        # Its message may quote a row.
        sentence = i18n.text("cli.unexpected", kind=type(error).__name__, place=place(error))
        return _fail("cli.unexpected", sentence, _UNEXPECTED, as_json=as_json)


def say(sentence: str, *, label: str = "", style: str = "") -> None:
    """Tell a person something on stderr, on one line whatever the width, and without tokens and passwords."""
    from rich.console import Console
    from rich.text import Text

    sentence = hide(sentence)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble((label, style), sentence) if label else Text(sentence, style=style))


def _fail(code: str, sentence: str, exit_code: int, *, as_json: bool) -> int:
    if (error := sys.exception()) is not None and os.environ.get("TSUGIKI_DEBUG"):
        print(hide(trace(error)), file=sys.stderr)
    if as_json:
        print(to_json({"error": {"code": code, "message": hide(sentence)}}), flush=True)
    else:
        say(f" {sentence}", label=f"error[{code}]:", style="bold red")
    return exit_code


class _Notices(logging.Handler):
    """Notices of tsugiki as plain lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            say(f" {record.getMessage()}", label=i18n.text("cli.warning"), style="yellow")
        else:
            say(record.getMessage(), style="dim")


@contextmanager
def _only_our_voice() -> Iterator[None]:
    """Show what tsugiki has to say and keep other libraries silent: what they say may quote a row."""
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
            warnings.simplefilter("ignore")
            yield
    finally:
        ours.removeHandler(notices)
        ours.setLevel(level)
        root.removeHandler(silence)


def _make_streams_forgiving() -> None:
    """A console without UTF-8 shows what it lacks by its number: nothing crashes, and nothing is lost."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
