"""Taking rows out of the cache, such as those of a person who asks to be forgotten."""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from filelock import FileLock

from tsugiki.base.facts import ShelfFacts
from tsugiki.base.segment import STORED_AS, DamagedError, Draft, Index
from tsugiki.base.stock import segment_bytes, shelves
from tsugiki.base.upkeep import CacheSettings, Size, clear, no_room
from tsugiki.errors import SpaceError
from tsugiki.home import private_folder, sync_folder

_LOCK = "forget.lock"
_OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Forgotten:
    """What came of taking rows out.

    Args:
        num_rows: of the texts asked for, those that had states.
        num_bytes: that went, with those of shelves that could not say by what their rows are known.
    """

    num_rows: int
    num_bytes: Size


def forget(root: Path, texts: Collection[str]) -> Forgotten:
    """Take the states of some rows out of every shelf, and their bytes off the disk.

    What is left of a segment is written as a new one before the old one goes: whenever the machine stops, no row that
    was to stay is lost, and the next call ends the work. A shelf that does not say by what its rows are known goes
    whole, and so does a segment that is damaged, or that the disk has no room to copy. A run that has a segment mapped
    reads on, and the disk has the room back when that run is over.

    Args:
        root: of the cache.
        texts: of the rows, as they were trained on.

    Raises:
        OSError: a file could not be removed.
    """
    found: set[str] = set()
    num_bytes = 0
    # Two at once would each copy what the other takes out.
    with FileLock(private_folder(root) / _LOCK, mode=_OWNER_ONLY):
        for folder, indices in shelves(root):
            facts = ShelfFacts.read(folder)
            text_of = None if facts is None else {facts.key(text): text for text in texts}
            for idx in indices:
                gone, freed = _without(idx, text_of)
                found |= gone
                num_bytes += freed
        clear(root)
    return Forgotten(len(found), Size(num_bytes))


def _without(idx: Path, text_of: Mapping[bytes, str] | None) -> tuple[set[str], int]:
    """Take rows out of one segment: those that were in it, and the bytes that went."""
    try:
        held = segment_bytes(idx)
    except FileNotFoundError:  # evicted since it was listed
        return set(), 0
    index = None if text_of is None else _read(idx)
    if index is None or text_of is None:
        _erase(idx)
        return set(), held
    gone = {text_of[key] for key in index.keys if key in text_of}
    if not gone:
        return gone, 0
    copied = _copy(idx, index, text_of)
    _erase(idx)
    return gone, held - copied


def _read(idx: Path) -> Index | None:
    """The index of a segment; None where it is damaged, or gone by now."""
    try:
        return Index.read(idx)
    except (DamagedError, FileNotFoundError):
        return None


def _copy(idx: Path, index: Index, unwanted: Collection[bytes]) -> int:
    """Write a new segment of the other rows, as old as the one it is from: its bytes, 0 where is no row or no room."""
    ends = [0, *np.cumsum(index.lengths).tolist()]
    stored, shape = STORED_AS[index.dtype], (ends[-1], index.width)
    try:
        used = idx.stat()
        rows = np.memmap(idx.with_suffix(".bin"), stored, "r", shape=shape) if ends[-1] else np.empty(shape, stored)
        draft = Draft(idx.parent, index.width, index.dtype, partial(no_room, idx.parent, 0, CacheSettings()))
    except (SpaceError, FileNotFoundError, ValueError):  # ValueError: shorter than its index says
        return 0
    try:
        for key, (start, end) in zip(index.keys, pairwise(ends), strict=True):
            if key not in unwanted:
                draft.add(key, rows[start:end])
        num_rows = len(draft.keys())
        draft.publish()
    except SpaceError:
        draft.discard()
        return 0
    except BaseException:
        draft.discard()
        raise
    num_bytes = segment_bytes(draft.idx) if num_rows else 0
    with suppress(FileNotFoundError):  # no row, no segment
        os.utime(draft.idx, (used.st_atime, used.st_mtime))
    return num_bytes


def _erase(idx: Path) -> None:
    # The rows first: an index without them is nothing to anybody.
    idx.with_suffix(".bin").unlink(missing_ok=True)
    idx.unlink(missing_ok=True)
    sync_folder(idx.parent)
