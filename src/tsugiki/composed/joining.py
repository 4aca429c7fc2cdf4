"""A set that is composed or joined and written, and where inputs go that were recorded."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tsugiki.base.model import Base
from tsugiki.composed.adapters import Composed
from tsugiki.composed.folder import SHARE, compose, load_set
from tsugiki.composed.refining import taught
from tsugiki.data.rows import Rows
from tsugiki.errors import ConfigError


@dataclass(frozen=True)
class Joined:
    """What came of it.

    Args:
        composed: the set, ready to answer.
        routes: of recorded inputs: `rows`, how many; `counts` by adapter, those of nobody under an empty name; where
            adapters joined a set, `moved`, how many take another route than before; and where rows named their
            adapters, `taught`: `rows`, how many did, and the shares that were nearest to their own `before` and
            `after`. Empty where none were given.
    """

    composed: Composed
    routes: dict[str, Any] = field(default_factory=dict)


def join(
    folders: Sequence[Path],
    add: Sequence[Path],
    *,
    out: Path,
    max_lost: float | None = None,
    router: Mapping[str, Any] | None = None,
    base: str | Base | None = None,
    recorded: Rows | None = None,
) -> Joined:
    """Compose adapters, or let some join the set at `out`, and write it.

    Args:
        folders: of adapters for a new set.
        add: of adapters that join; one of the two is empty.
        out: folder of the set.
        max_lost: share of its own inputs that an adapter may lose (0..1); None: 5 %, or that of the set.
        router: `{kind, ...}`; None takes the one adapter that knows an input best, or the router of the set.
        base: folder or hub name, or a base that is loaded; None takes the one that the adapters name.
        recorded: inputs whose routes are to be told; where they have domains, which name their adapters, the router
            learns from them.

    Raises:
        ConfigError: nothing is to be composed, or a setting of a set that is there is to be another.
        RowsError: rows name adapters, and none of the set.
    """
    if bool(folders) == bool(add):
        raise ConfigError("compose.nothing" if not folders else "compose.both")
    if add and (max_lost is not None or router is not None):
        raise ConfigError("compose.settled")
    onto = load_set(out) if add else None
    share = SHARE if max_lost is None else max_lost
    found = compose(folders or add, name=out.resolve().name, router=router, onto=onto, share=share)
    composed = Composed.on_base(found, base)
    routes: dict[str, Any] = {}
    if recorded is not None:
        if recorded.domains is not None:
            found, *told = taught(composed, recorded)
            routes["taught"] = dict(zip(("rows", "before", "after"), told, strict=True))
            composed.close()
            composed = Composed(found, composed.base)
        after = composed.chosen(recorded.texts)
        routes |= {"rows": len(recorded), "counts": dict(Counter(name or "" for name in after))}
        if onto is not None:
            before = Composed(onto, composed.base)
            routes["moved"] = sum(old != new for old, new in zip(before.chosen(recorded.texts), after, strict=True))
            before.close()
    found.save(out)
    return Joined(composed, routes)
