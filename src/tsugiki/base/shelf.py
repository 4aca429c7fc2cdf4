"""The shelves under the prefix cache: packed arrays of rows on disk, found by digest.

A segment taken away under a reader costs it nothing but time: what is mapped stays readable, what is not is missing and
computed anew.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tsugiki.base.facts import ShelfFacts
from tsugiki.base.segment import NAME, STORED_AS, Array, DamagedError, Draft, Segment
from tsugiki.base.upkeep import CacheSettings, cache_root, make_room, no_room, remove, tidy
from tsugiki.home import private_folder
from tsugiki.i18n import warn

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows asked of a shelf, in the order asked. They stay readable while this object, or a view from it, is alive.

    Args:
        lengths: (n,) int64, positions per row.
    """

    lengths: npt.NDArray[np.int64]
    _starts: npt.NDArray[np.int64]
    _segments: npt.NDArray[np.int64]
    _arrays: dict[int, Array]
    _empty: Array
    _dtype: str

    @classmethod
    def packed(cls, lengths: npt.NDArray[np.int64], array: Array, dtype: str) -> "Rows":
        """Rows that are on no shelf but end to end in memory.

        Args:
            lengths: (n,) positions per row.
            array: (sum of lengths, width), bfloat16 as uint16.
            dtype: as in `Shelf`.
        """
        starts = np.cumsum(lengths) - lengths
        return cls(lengths, starts, np.zeros(len(lengths), np.int64), {0: array}, array[:0], dtype)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Array:
        """Row `index`, (length, width), as a read-only view on the memory map; bfloat16 comes as uint16."""
        start = self._starts[index]
        return self._arrays[int(self._segments[index])][start : start + self.lengths[index]]

    def gather(self, indices: Sequence[int] | npt.NDArray[np.int64], out_length: int) -> "Tensor":
        """Copy rows into one batch.

        Args:
            indices: (n,) which rows, in which order.
            out_length: positions per row of the result; what a row does not fill is 0.

        Returns:
            (n, out_length, width), in the dtype of the shelf, on the CPU.

        Raises:
            ValueError: a row is longer than `out_length`.
        """
        import torch

        chosen = np.asarray(indices, dtype=np.int64)
        lengths = self.lengths[chosen]
        if lengths.max(initial=0) > out_length:
            raise ValueError(f"a row has {lengths.max()} positions, more than the {out_length} of the batch")
        batch = np.zeros((len(chosen), out_length, self._empty.shape[1]), self._empty.dtype)
        places = zip(self._segments[chosen].tolist(), self._starts[chosen].tolist(), lengths.tolist(), strict=True)
        for row, (segment, start, length) in zip(batch, places, strict=True):
            row[:length] = self._arrays[segment][start : start + length]
        if self._dtype == "bfloat16":
            return torch.from_numpy(batch.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(batch)


class Shelf:
    """Rows of one kind, each (its own length, width), found by key; what other processes add is seen as it appears.

    Args:
        folder: belongs to one base, tokenizer, state and dtype, and lies under `root`; made when first written to.
        width: numbers per position.
        dtype: float32, float16 or bfloat16.
        settings: quota and age limit, which hold for all of `root`.
        root: the cache this is a part of; None: `cache_root()`.
        about: what the folder is to say of itself.

    Raises:
        ValueError: no such dtype, a folder outside of the root, or a folder that holds rows of another kind.
    """

    def __init__(
        self,
        folder: Path,
        width: int,
        dtype: str,
        settings: CacheSettings | None = None,
        *,
        root: Path | None = None,
        about: ShelfFacts | None = None,
    ) -> None:
        if dtype not in STORED_AS:
            raise ValueError(f"dtype is {dtype!r}; a shelf holds {', '.join(STORED_AS)}")
        self.root = (root or cache_root()).resolve()
        self.folder = (self.root / folder).resolve()
        if not self.folder.is_relative_to(self.root):
            raise ValueError(f"{self.folder} is not under the cache root {self.root}")
        self.width = width
        self.dtype = dtype
        self.settings = settings or CacheSettings()
        self.about = about
        self._empty = np.empty((0, width), STORED_AS[dtype])
        self._ignored: set[Path] = set()
        self._segments: list[Segment] = []
        self._tabulate()
        tidy(self.root, self.settings)
        self._discover()

    def missing(self, keys: Sequence[bytes]) -> list[int]:
        """Indices of the keys to compute: those not stored, and of equal ones only the first.

        What is not missing can be read from this shelf for as long as it lives, whatever other processes do.
        """
        self._discover()
        places, _ = self._locate(keys)
        first: dict[bytes, int] = {}
        for index in np.flatnonzero(places < 0).tolist():
            first.setdefault(keys[index], index)
        return list(first.values())

    def read(self, keys: Sequence[bytes]) -> Rows:
        """The rows under these keys, without copying any.

        Raises:
            KeyError: a key is not stored.
        """
        places, arrays = self._locate(keys)
        absent = int((places < 0).sum())
        if absent:
            raise KeyError(f"{absent} of {len(keys)} keys are not stored; `missing` says which")
        starts, segments = self._starts[places], self._segment_of[places]
        return Rows(self._lengths[places], starts, segments, arrays, self._empty, self.dtype)

    @contextmanager
    def writer(self, expected_bytes: int) -> Iterator["Draft"]:
        """Write one new segment; it appears when the block ends well, and leaves no trace where it does not.

        Args:
            expected_bytes: rows * length * width * bytes per number; room is made for so much. Two writers at work at
                once may together pass the quota by what one of them writes.

        Raises:
            SpaceError: the quota or the disk has no room, before or while writing.
            OSError: the disk fails in another way, or may not be written to.
        """
        make_room(self.root, expected_bytes, self.settings)
        full = partial(no_room, self.root, expected_bytes, self.settings)
        draft = Draft(private_folder(self.folder), self.width, self.dtype, full)
        try:
            if self.about is not None:
                self.about.write(self.folder)
            yield draft
            draft.publish()
        except BaseException:
            draft.discard()
            raise
        self._discover()
        # Mapped at once, so that no later writer evicts it before it is read.
        self._locate(draft.keys())

    def _locate(self, keys: Sequence[bytes]) -> tuple[npt.NDArray[np.int64], dict[int, Array]]:
        """Index of each key in the tables, -1 where it is not stored, and the arrays of all segments that were hit."""
        while True:
            places = np.fromiter((self._place_of.get(key, -1) for key in keys), np.int64, len(keys))
            hit = np.unique(self._segment_of[places[places >= 0]]).tolist()
            opened = {number: self._segments[number].open() for number in hit}
            arrays = {number: array for number, array in opened.items() if array is not None}
            if len(arrays) == len(opened):
                return places, arrays
            # Another process evicted a segment since its index was read: its rows are missing now.
            self._segments = [s for number, s in enumerate(self._segments) if number in arrays or number not in opened]
            self._tabulate()

    def _discover(self) -> None:
        """Read the indices that have appeared; drop what is damaged."""
        known = self._ignored | {segment.idx for segment in self._segments}
        fresh, damaged = [], 0
        for idx in sorted(set(self.folder.glob("*.idx")) - known):
            if not NAME.fullmatch(idx.name):
                continue
            try:
                fresh.append(Segment.load(idx, self._empty, self.dtype))
                continue
            except FileNotFoundError:
                remove(idx)  # whoever is evicting it was faster, or was killed half-way
            except DamagedError:
                damaged += 1
                remove(idx)
            except OSError:
                pass  # somebody else's, or on a disk that fails: none of ours to remove
            self._ignored.add(idx)
        if damaged:
            warn("cache.damaged", count=damaged, folder=self.folder)
        if fresh:
            self._segments += fresh
            self._tabulate()

    def _tabulate(self) -> None:
        """One table over the rows of all segments: number of the segment, start in it, length; and the keys' places."""
        none = np.zeros(0, np.int64)
        counts = [len(segment.keys) for segment in self._segments]
        self._segment_of = np.repeat(np.arange(len(counts)), counts)
        self._lengths = np.concatenate([none, *(segment.lengths for segment in self._segments)])
        self._starts = np.concatenate([none, *(np.cumsum(s.lengths) - s.lengths for s in self._segments)])
        self._place_of: dict[bytes, int] = {}
        for segment, before in zip(self._segments, accumulate(counts, initial=0), strict=False):
            self._place_of.update(zip(segment.keys, range(before, before + len(segment.keys)), strict=True))
