"""What the cache holds, shelf by shelf."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tsugiki.base.facts import ShelfFacts
from tsugiki.base.segment import NAME, DamagedError, Index
from tsugiki.base.upkeep import Size


@dataclass(frozen=True)
class Stock:
    """What one shelf holds.

    Args:
        folder: of the shelf.
        facts: what it says of itself; None where that is nothing.
        keys: of its rows.
        num_bytes: of all its segments.
        last_used_s: when a row of it was last used, in seconds since 1970.
    """

    folder: Path
    facts: ShelfFacts | None
    keys: frozenset[bytes] = field(repr=False)
    num_bytes: Size
    last_used_s: float


def stock(root: Path) -> list[Stock]:
    """All shelves with a segment, in the order of their folders; what is damaged is left out."""
    return [found for folder, indices in shelves(root) if (found := _stock(folder, indices))]


def shelves(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder under `root` that has indices, and these."""
    for folder, inner, names in os.walk(root):
        inner.sort()
        indices = [Path(folder, name) for name in sorted(names) if name.endswith(".idx") and NAME.fullmatch(name)]
        if indices:
            yield Path(folder), indices


def segment_bytes(idx: Path) -> int:
    """Bytes of both files of a segment."""
    return idx.stat().st_size + idx.with_suffix(".bin").stat().st_size


def _stock(folder: Path, indices: list[Path]) -> Stock | None:
    keys: set[bytes] = set()
    num_bytes, last_used_s = 0, 0.0
    for idx in indices:
        with suppress(OSError, DamagedError):  # evicted since it was listed, or not worth a word here
            keys.update(Index.read(idx).keys)
            num_bytes += segment_bytes(idx)
            last_used_s = max(last_used_s, idx.stat().st_mtime)
    return Stock(folder, ShelfFacts.read(folder), frozenset(keys), Size(num_bytes), last_used_s) if keys else None
