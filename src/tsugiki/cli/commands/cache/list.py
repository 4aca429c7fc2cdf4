"""`tsugiki cache list`: what the prefix cache holds, shelf by shelf."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tsugiki.cli.answer import Answer, table
from tsugiki.i18n import text as say

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from tsugiki.base.stock import Stock

EXAMPLE = "tsugiki cache list"


def run() -> Answer:
    """Read the indices; no state is loaded."""
    from tsugiki.base.stock import stock
    from tsugiki.base.upkeep import cache_root, usage

    root = cache_root()
    found = stock(root)
    facts = {
        "root": str(root),
        "rows": len({key for shelf in found for key in shelf.keys}),
        "num_bytes": int(usage(root)),
        "shelves": [_facts(shelf) for shelf in found],
    }
    return Answer(facts, _page(root, found, facts) if found else say("cli.cache_list.empty", root=root))


def _facts(shelf: "Stock") -> dict[str, Any]:
    own = dict.fromkeys(("base", "kind", "state", "dtype", "max_length"))
    if shelf.facts is not None:
        own = {name: getattr(shelf.facts, name) for name in own}
    used = datetime.fromtimestamp(shelf.last_used_s, UTC).isoformat(timespec="seconds")
    return {**own, "rows": len(shelf.keys), "num_bytes": int(shelf.num_bytes), "last_used": used}


def _page(root: "Path", found: "list[Stock]", facts: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from tsugiki.base.upkeep import Size

    names = ("base", "states", "dtype", "max_length", "rows", "size", "last_used")
    rows = [_row(shelf) for shelf in found]
    total = say("cli.cache_list.total", root=root, rows=facts["rows"], size=Size(facts["num_bytes"]))
    return Group(table(*(say(f"cli.column.{name}") for name in names), rows=rows), Text(total))


def _row(shelf: "Stock") -> tuple[object, ...]:
    used = datetime.fromtimestamp(shelf.last_used_s).strftime("%Y-%m-%d %H:%M")
    if shelf.facts is None:
        return ("?", "?", "?", None, len(shelf.keys), str(shelf.num_bytes), used)
    about = shelf.facts
    states = say("cli.cache_list.means", top=about.state) if about.kind == "pooled" else str(about.state)
    return (about.base, states, about.dtype, about.max_length, len(shelf.keys), str(shelf.num_bytes), used)
