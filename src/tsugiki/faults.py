"""Faults told by kind and place, never by their message: libraries quote in it what they stumbled over, rows too."""

import traceback
from collections.abc import Iterator
from pathlib import Path

from tsugiki.errors import TsugikiError

_OURS = Path(__file__).parent


def told(error: BaseException) -> str:
    """One line on a fault: its sentence where it is one of ours, else as in `KeyError in train/heads.py:63`."""
    return str(error) if isinstance(error, TsugikiError) else f"{type(error).__name__} in {place(error)}."


def place(error: BaseException) -> str:
    """Where in tsugiki a fault came up, or where at all, as `file:line`."""
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [(path.relative_to(_OURS), line) for path, line in frames if path.is_relative_to(_OURS)]
    innermost = [*frames, *ours][-1:]
    return "".join(f"{path.as_posix()}:{line}" for path, line in innermost) or "-"


def trace(error: BaseException) -> str:
    """What Python prints of a fault and of those that led to it, without their messages; the last line is `told`."""
    parts = ["".join([*traceback.format_tb(link.__traceback__), f"{_kind(link)}\n"]) for link in _chain(error)]
    return "\n".join([*reversed(parts), f"{told(error)}\n"])


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _kind(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"
