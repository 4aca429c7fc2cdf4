"""The shelves under the prefix cache: packed arrays of rows on disk, found by digest, read through memory maps.

A segment is two files. `NAME.bin` holds the rows of one writer end to end, `NAME.idx` says where each begins:

    magic, dtype, width, number of rows, bytes of the .bin | keys, 32 bytes each | lengths, uint32 each | sha256 of all

It appears by one rename of the `.idx`, after the `.bin` is safely on disk, and never changes again: a reader sees all
of a segment or nothing, whenever a writer is killed. NAME tells who writes, so what a dead writer left can be swept
away and what a live one is at work on is left alone. A segment taken away under a reader costs it nothing but time:
what is mapped stays readable, what is not is missing and computed anew.

Torch is imported only where tensors are asked for, so that sizing and emptying the cache answer at once.
"""

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import psutil
from pydantic import PositiveFloat, PositiveInt

from tsugiki.errors import SpaceError
from tsugiki.home import home, owner_only, private_folder, sync_folder, write_atomically
from tsugiki.i18n import notify, warn
from tsugiki.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]

KEY_BYTES = 32
# numpy has no bfloat16: its bits are kept as integers.
STORED_AS: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}

_NAME = re.compile(r"[0-9a-f]{8}-\d+-[0-9a-f]{16}\.(bin|idx)(\..+)?")  # place, process, chance
_HEADER = struct.Struct("<8s16sIQQ")
_MAGIC = b"tsugiki1"
_DAY_S = 86_400.0
_QUOTA_BYTES = 20 * 10**9
_SPARE_BYTES = 256 * 10**6  # left free for everything else on the disk
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

# What this process has mapped, by path of the .bin: such a segment is not evicted, nor mapped twice.
_maps: WeakValueDictionary[Path, Array] = WeakValueDictionary()


class CacheSettings(Spec):
    """How much may be kept, and for how long.

    Args:
        enabled: whether states are kept at all; read by whoever would fill a shelf.
        quota_bytes: bound on the whole cache; None: 20 GB or half of what the disk could give it, whichever is less.
        max_age_days: a segment that nobody used for so long is removed.
    """

    enabled: bool = True
    quota_bytes: PositiveInt | None = None
    max_age_days: PositiveFloat = 30.0


class Size(int):
    """A number of bytes that prints as people say it: `10.5 GB`."""

    def __str__(self) -> str:
        value, unit = float(self), "B"
        for larger in ("kB", "MB", "GB", "TB"):
            if abs(value) < 1000:
                break
            value, unit = value / 1000, larger
        return f"{int(self)} B" if unit == "B" else f"{value:.1f} {unit}"


def cache_root() -> Path:
    """The folder that holds every shelf, and that the quota bounds."""
    return home() / "cache"


def as_array(states: "Tensor") -> Array:
    """The bits of a tensor as a shelf keeps them: bfloat16 as uint16, everything else as it is; same shape."""
    import torch

    states = states.detach().cpu().contiguous()
    return states.view(torch.int16).numpy().view("<u2") if states.dtype is torch.bfloat16 else states.numpy()


# --- reading and writing ---------------------------------------------------------------------------------------------


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

    Raises:
        ValueError: no such dtype, a folder outside of the root, or a folder that holds rows of another kind.
    """

    def __init__(
        self, folder: Path, width: int, dtype: str, settings: CacheSettings | None = None, *, root: Path | None = None
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
        self._empty = np.empty((0, width), STORED_AS[dtype])
        self._ignored: set[Path] = set()
        self._segments: list[_Segment] = []
        self._tabulate()
        _tidy(self.root, self.settings)
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
        _make_room(self.root, expected_bytes, self.settings)
        full = partial(_no_room, self.root, expected_bytes, self.settings)
        draft = Draft(private_folder(self.folder), self.width, self.dtype, full)
        try:
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
            if not _NAME.fullmatch(idx.name):
                continue
            try:
                fresh.append(_Segment.load(idx, self._empty, self.dtype))
                continue
            except FileNotFoundError:
                _remove(idx)  # whoever is evicting it was faster, or was killed half-way
            except _DamagedError:
                damaged += 1
                _remove(idx)
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


class Draft:
    """A segment being written.

    Args:
        folder: where; it exists.
        width: numbers per position.
        dtype: as in `Shelf`.
        full: makes the error to raise when the disk is full.
    """

    def __init__(self, folder: Path, width: int, dtype: str, full: Callable[[], SpaceError]) -> None:
        name = f"{_place()}-{os.getpid()}-{secrets.token_hex(8)}"
        self._idx = folder / f"{name}.idx"
        self._bin = folder / f"{name}.bin"
        self._part = folder / f"{name}.bin.part"
        self._width = width
        self._dtype = dtype
        self._full = full
        self._lengths: dict[bytes, int] = {}
        with self._disk():
            # Closed by `publish` or `discard`.
            self._file = open(self._part, "xb", buffering=2**20, opener=owner_only)  # noqa: SIM115

    def keys(self) -> list[bytes]:
        """The keys added so far."""
        return list(self._lengths)

    def add(self, key: bytes, array: Array) -> None:
        """Append one row; a key that was added before is left as it is.

        Args:
            key: 32 bytes.
            array: (length, width) in the dtype of the shelf, bfloat16 as uint16 (see `as_array`).

        Raises:
            ValueError: the key or the array is not of that shape or dtype.
            SpaceError: the disk is full; nothing is left of the segment.
        """
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {len(key)} bytes instead of {KEY_BYTES}")
        stored = STORED_AS[self._dtype]
        if array.ndim != 2 or array.shape[1] != self._width or array.dtype != stored:
            raise ValueError(f"a row is {array.shape} {array.dtype}; this shelf holds (length, {self._width}) {stored}")
        if key not in self._lengths:
            with self._disk():
                self._file.write(np.ascontiguousarray(array).data)
            self._lengths[key] = len(array)

    def publish(self) -> None:
        """Make the segment visible, whole; one without rows never becomes one."""
        if not self._lengths:
            self.discard()
            return
        with self._disk():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._bin)
            sync_folder(self._bin.parent)
            write_atomically(self._idx, _index(self._lengths, self._width, self._dtype))

    def discard(self) -> None:
        """Leave nothing behind."""
        self._lengths.clear()
        with suppress(AttributeError, OSError):  # never opened, or a last flush that fails like the write before it
            self._file.close()
        for path in (self._idx, self._part, self._bin):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.discard()
            if error.errno in _FULL:
                raise self._full() from error
            raise


# --- one segment -----------------------------------------------------------------------------------------------------


class _DamagedError(Exception):
    """A segment that is not what its writer wrote."""


@dataclass
class _Segment:
    idx: Path
    keys: list[bytes]
    lengths: npt.NDArray[np.int64]
    empty: Array  # (0, width), for its width and dtype
    array: Array | None = None  # (sum of lengths, width), once opened

    @staticmethod
    def load(idx: Path, empty: Array, dtype: str) -> "_Segment":
        """Read an index and hold its .bin against it."""
        data = idx.read_bytes()
        body, checksum = data[:-32], data[-32:]
        if len(body) < _HEADER.size or hashlib.sha256(body).digest() != checksum:
            raise _DamagedError
        magic, kind, width, rows, bin_bytes = _HEADER.unpack_from(body)
        lengths_at = _HEADER.size + rows * KEY_BYTES
        if magic != _MAGIC or len(body) != lengths_at + 4 * rows or idx.with_suffix(".bin").stat().st_size != bin_bytes:
            raise _DamagedError
        if (width, kind.rstrip(b"\0").decode()) != (empty.shape[1], dtype):
            raise ValueError(f"{idx.parent} holds rows of another kind: {width} x {kind.rstrip(bytes(1)).decode()}")
        keys = np.frombuffer(body, f"V{KEY_BYTES}", rows, _HEADER.size).tolist()
        return _Segment(idx, keys, np.frombuffer(body, "<u4", rows, lengths_at).astype(np.int64), empty)

    def open(self) -> Array | None:
        """Map the rows, and note the use; None where they are gone."""
        if self.array is None:
            try:
                self.array = self._map()
            except (OSError, ValueError):  # ValueError: the file is shorter than it was when the index was read
                return None
        with suppress(OSError):
            os.utime(self.idx)
        return self.array

    def _map(self) -> Array:
        total, path = int(self.lengths.sum()), self.idx.with_suffix(".bin")
        if total == 0:
            return self.empty  # an empty file cannot be mapped
        mapped = _maps.get(path)
        if mapped is None:
            shape = (total, self.empty.shape[1])
            mapped = _maps[path] = np.memmap(path, self.empty.dtype, "r", shape=shape)
        # Slicing a plain array is several times faster than slicing a memmap; its base keeps the map alive.
        return np.asarray(mapped)


def _index(lengths: dict[bytes, int], width: int, dtype: str) -> bytes:
    bin_bytes = sum(lengths.values()) * width * STORED_AS[dtype].itemsize
    header = _HEADER.pack(_MAGIC, dtype.encode(), width, len(lengths), bin_bytes)
    body = header + b"".join(lengths) + np.fromiter(lengths.values(), "<u4", len(lengths)).tobytes()
    return body + hashlib.sha256(body).digest()


# --- the cache as a whole --------------------------------------------------------------------------------------------


def usage(root: Path) -> Size:
    """Bytes of all segments under `root`, those being written included."""
    return Size(sum(file.num_bytes for file in _files(root)))


def purge(root: Path) -> Size:
    """Remove all segments but those that this process has mapped or that some process is writing.

    Returns:
        The bytes that were freed.
    """
    root = root.resolve()  # as shelves do, to know what they have mapped
    before = usage(root)
    for segment in _segments(root):
        _remove(segment.path)
    _sweep(root)
    for folder, _, _ in os.walk(root, topdown=False):
        if Path(folder) != root:
            with suppress(OSError):
                Path(folder).rmdir()
    return Size(before - usage(root))


@dataclass(frozen=True)
class _File:
    path: Path
    num_bytes: int
    changed_s: float  # for an index: when it was last used


def _files(root: Path) -> Iterator[_File]:
    for folder, _, names in os.walk(root):
        for name in filter(_NAME.fullmatch, names):
            with suppress(OSError):  # gone since it was listed
                status = Path(folder, name).stat()
                yield _File(Path(folder, name), status.st_size, status.st_mtime)


def _segments(root: Path) -> list[_File]:
    """The index of every segment under `root`, with the bytes of both of its files; least recently used first."""
    files = {file.path: file for file in _files(root)}
    segments = [
        _File(path, sum(files[p].num_bytes for p in (path, path.with_suffix(".bin")) if p in files), file.changed_s)
        for path, file in files.items()
        if path.suffix == ".idx"
    ]
    return sorted(segments, key=lambda segment: segment.changed_s)


def _remove(idx: Path) -> bool:
    """Remove a segment unless this process has it mapped; whether it is gone."""
    rows = idx.with_suffix(".bin")
    if rows in _maps:
        return False
    try:
        # The rows first: Windows refuses while another process maps them, and then the segment stays whole.
        rows.unlink(missing_ok=True)
        idx.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _tidy(root: Path, settings: CacheSettings) -> None:
    """Remove what dead writers left and what nobody has used for long."""
    _sweep(root)
    oldest_s = time.time() - settings.max_age_days * _DAY_S
    for segment in _segments(root):
        if segment.changed_s < oldest_s:
            _remove(segment.path)


def _sweep(root: Path) -> None:
    """Remove what writers that are gone have left without an index."""
    files = {file.path: file for file in _files(root)}
    for path, file in files.items():
        idx = path.with_name(path.name.partition(".")[0] + ".idx")
        # Asked once more after the writer: it may have published, and ended well, since the files were listed.
        if idx not in files and not _writer_lives(file) and not idx.exists():
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _writer_lives(file: _File) -> bool:
    place, pid, *_ = file.path.name.split("-")
    if place != _place():
        return time.time() - file.changed_s < _DAY_S
    try:
        process = psutil.Process(int(pid))
        # A process that began long after the last write has inherited the number only. A day, since clocks differ.
        return bool(process.create_time() < file.changed_s + _DAY_S and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


@cache
def _place() -> str:
    """Eight digits for where process numbers mean the same as here: this boot of this machine, in this container."""
    marks = [platform.node()]
    with suppress(OSError):
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with suppress(OSError):
        marks.append(str(Path("/proc/self/ns/pid").readlink()))
    return f"{zlib.crc32(' '.join(marks).encode()):08x}"


def _make_room(root: Path, needed: int, settings: CacheSettings) -> None:
    """Evict segments, least recently used first, until `needed` bytes fit; none where that would not be enough.

    Raises:
        SpaceError: they do not fit.
    """
    private_folder(root)
    free, quota = _limits(root, settings)
    short = max(usage(root) + needed - quota, needed + _SPARE_BYTES - free)
    idle = [segment for segment in _segments(root) if segment.path.with_suffix(".bin") not in _maps]
    if short > sum(segment.num_bytes for segment in idle):
        raise _no_room(root, needed, settings)
    evicted = []
    for segment in idle:
        if short > 0 and _remove(segment.path):
            evicted.append(segment.num_bytes)
            short -= segment.num_bytes
    if evicted:
        notify("cache.evicted", count=len(evicted), size=Size(sum(evicted)))
    if short > 0:
        raise _no_room(root, needed, settings)


def _limits(root: Path, settings: CacheSettings) -> tuple[Size, Size]:
    """Bytes free on the disk, and the quota."""
    free = shutil.disk_usage(root).free
    # What the cache holds counts as free here, or the quota would shrink as the cache grows.
    quota = settings.quota_bytes or min(_QUOTA_BYTES, (free + usage(root)) // 2)
    return Size(free), Size(quota)


def _no_room(root: Path, needed: int, settings: CacheSettings) -> SpaceError:
    free, quota = _limits(root, settings)
    return SpaceError("cache.full", needed=Size(needed), free=free, quota=quota, root=root)
