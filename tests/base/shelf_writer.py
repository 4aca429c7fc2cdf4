"""A process that writes to a shelf, to be killed or run beside another; and the rows it writes."""

import hashlib
import os
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import numpy as np

from tsugiki.base.segment import Array
from tsugiki.base.shelf import Shelf

WIDTH = 16


def key_of(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def row_of(number: int) -> Array:
    """(number mod 7, width) float32 that no other number has."""
    return np.full((number % 7, WIDTH), number, np.float32) + np.arange(WIDTH, dtype=np.float32) / WIDTH


def shelf_in(root: Path) -> Shelf:
    return Shelf(Path("shelf"), WIDTH, "float32", root=root)


def put(shelf: Shelf, numbers: Iterable[int]) -> None:
    with shelf.writer(100_000) as draft:
        for number in numbers:
            draft.add(key_of(number), row_of(number))


def die_at(step: int) -> None:
    """End this process like `kill -9` just before its `step`-th sync or rename."""
    steps = count(1)
    for name in ("fsync", "replace"):
        setattr(os, name, _counted(getattr(os, name), steps, step))


def _counted(real, steps, last):
    def wrapped(*arguments):
        if next(steps) == last:
            os._exit(9)
        return real(*arguments)

    return wrapped


def main(root: str, first: str, segments: str, step: str) -> None:
    shelf = shelf_in(Path(root))
    die_at(int(step))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for segment in range(int(segments)):
        put(shelf, range(int(first) + 100 * segment, int(first) + 100 * (segment + 1)))


if __name__ == "__main__":
    main(*sys.argv[1:])
