"""A segment: rows that one writer has put on disk end to end, read through a memory map.

It is two files. `NAME.bin` holds the rows, `NAME.idx` says where each begins:

    magic, dtype, width, number of rows, bytes of the .bin | keys, 32 bytes each | lengths, uint32 each | sha256 of all

It appears by one rename of the `.idx`, after the `.bin` is safely on disk, and never changes again: a reader sees all
of a segment or nothing, whenever a writer is killed. NAME tells who writes, so what a dead writer left can be swept
away and what a live one is at work on is left alone.

Torch is imported only where tensors are asked for, so that sizing and emptying the cache answer at once.
"""

import errno
import hashlib
import os
import platform
import re
import secrets
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from tsugiki.errors import SpaceError
from tsugiki.home import owner_only, sync_folder, write_atomically

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
NAME = re.compile(r"[0-9a-f]{8}-\d+-[0-9a-f]{16}\.(bin|idx)(\..+)?")  # place, process, chance
HEADER = struct.Struct("<8s16sIQQ")

_MAGIC = b"tsugiki1"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

# What this process has mapped, by path of the .bin: such a segment is not evicted, nor mapped twice.
MAPPED: WeakValueDictionary[Path, Array] = WeakValueDictionary()


def as_array(states: "Tensor") -> Array:
    """The bits of a tensor as a shelf keeps them: bfloat16 as uint16, everything else as it is; same shape."""
    import torch

    states = states.detach().cpu().contiguous()
    return states.view(torch.int16).numpy().view("<u2") if states.dtype is torch.bfloat16 else states.numpy()


class Draft:
    """A segment being written; `idx` is where its index will be.

    Args:
        folder: where; it exists.
        width: numbers per position.
        dtype: as in `Shelf`.
        full: makes the error to raise when the disk is full.
    """

    def __init__(self, folder: Path, width: int, dtype: str, full: Callable[[], SpaceError]) -> None:
        name = f"{place()}-{os.getpid()}-{secrets.token_hex(8)}"
        self.idx = folder / f"{name}.idx"
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
            write_atomically(self.idx, _index(self._lengths, self._width, self._dtype))

    def discard(self) -> None:
        """Leave nothing behind."""
        self._lengths.clear()
        with suppress(AttributeError, OSError):  # never opened, or a last flush that fails like the write before it
            self._file.close()
        for path in (self.idx, self._part, self._bin):
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


class DamagedError(Exception):
    """A segment that is not what its writer wrote."""


@dataclass(frozen=True)
class Index:
    """What an index says of the rows beside it.

    Args:
        width: numbers per position.
        dtype: as in `Shelf`.
        keys: one per row.
        lengths: (rows,) positions of each.
    """

    width: int
    dtype: str
    keys: list[bytes]
    lengths: npt.NDArray[np.int64]

    @staticmethod
    def read(idx: Path) -> "Index":
        """Read an index and hold its .bin against it.

        Raises:
            DamagedError: they are not what their writer wrote.
            FileNotFoundError: one of them is gone.
        """
        data = idx.read_bytes()
        body, checksum = data[:-32], data[-32:]
        if len(body) < HEADER.size or hashlib.sha256(body).digest() != checksum:
            raise DamagedError
        magic, kind, width, rows, bin_bytes = HEADER.unpack_from(body)
        lengths_at = HEADER.size + rows * KEY_BYTES
        if magic != _MAGIC or len(body) != lengths_at + 4 * rows or idx.with_suffix(".bin").stat().st_size != bin_bytes:
            raise DamagedError
        keys = np.frombuffer(body, f"V{KEY_BYTES}", rows, HEADER.size).tolist()
        lengths = np.frombuffer(body, "<u4", rows, lengths_at).astype(np.int64)
        return Index(width, kind.rstrip(b"\0").decode(), keys, lengths)


@dataclass
class Segment:
    """One segment that is on disk, read through its index.

    Args:
        idx: path of the index.
        keys: one per row.
        lengths: (rows,) positions of each.
        empty: (0, width), for its width and dtype.
        array: (sum of lengths, width), once opened.
    """

    idx: Path
    keys: list[bytes]
    lengths: npt.NDArray[np.int64]
    empty: Array
    array: Array | None = None

    @staticmethod
    def load(idx: Path, empty: Array, dtype: str) -> "Segment":
        """Read an index and hold its .bin against it."""
        index = Index.read(idx)
        if (index.width, index.dtype) != (empty.shape[1], dtype):
            raise ValueError(f"{idx.parent} holds rows of another kind: {index.width} x {index.dtype}")
        return Segment(idx, index.keys, index.lengths, empty)

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
        mapped = MAPPED.get(path)
        if mapped is None:
            shape = (total, self.empty.shape[1])
            mapped = MAPPED[path] = np.memmap(path, self.empty.dtype, "r", shape=shape)
        # Slicing a plain array is several times faster than slicing a memmap; its base keeps the map alive.
        return np.asarray(mapped)


def _index(lengths: dict[bytes, int], width: int, dtype: str) -> bytes:
    bin_bytes = sum(lengths.values()) * width * STORED_AS[dtype].itemsize
    header = HEADER.pack(_MAGIC, dtype.encode(), width, len(lengths), bin_bytes)
    body = header + b"".join(lengths) + np.fromiter(lengths.values(), "<u4", len(lengths)).tobytes()
    return body + hashlib.sha256(body).digest()


@cache
def place() -> str:
    """Eight digits for where process numbers mean the same as here: this boot of this machine, in this container."""
    marks = [platform.node()]
    with suppress(OSError):
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with suppress(OSError):
        marks.append(str(Path("/proc/self/ns/pid").readlink()))
    return f"{zlib.crc32(' '.join(marks).encode()):08x}"
