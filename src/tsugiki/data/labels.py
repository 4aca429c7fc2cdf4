"""Several labels in one cell. `Rows` keeps them as one text, sorted and joined, whatever the file had."""

from collections.abc import Iterable, Sequence

SEPARATOR = ";"
# As Japanese keyboards write it.
_WIDE = "；"


def split(joined: str) -> tuple[str, ...]:
    """Labels that are joined in one text; blanks around them and empty ones are dropped."""
    return tuple(part for label in joined.replace(_WIDE, SEPARATOR).split(SEPARATOR) if (part := label.strip()))


def join(labels: Iterable[str]) -> str:
    """Labels as one text, each once, in alphabetical order."""
    return SEPARATOR.join(sorted(set(labels)))


def holds_several(label: str) -> bool:
    """Whether a cell reads like several labels."""
    return SEPARATOR in label or _WIDE in label


def in_order(labels: Iterable[str], order: Sequence[str] = ()) -> tuple[str, ...] | None:
    """Labels, each once, in a given order or in that of the numbers that they are; None where they have neither."""
    if order:
        return tuple(order)
    try:
        return tuple(sorted(set(labels), key=float))
    except ValueError:
        return None
