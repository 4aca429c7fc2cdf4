"""How large the whole cache may grow, how long a segment stays, and what is taken away first."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import PositiveFloat, PositiveInt

from tsugiki.base.facts import ABOUT
from tsugiki.base.segment import MAPPED, NAME, place
from tsugiki.errors import SpaceError
from tsugiki.home import home, private_folder
from tsugiki.i18n import notify
from tsugiki.spec import Spec

SPARE_BYTES = 256 * 10**6  # left free for everything else on the disk

_DAY_S = 86_400.0
_QUOTA_BYTES = 20 * 10**9


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
        remove(segment.path)
    _sweep(root)
    clear(root)
    return Size(before - usage(root))


def clear(root: Path) -> None:
    """Remove shelves that have no segment left, and with them what they say of themselves."""
    for folder, _, _ in os.walk(root, topdown=False):
        with suppress(OSError):
            if Path(folder) != root and not any(NAME.fullmatch(file.name) for file in Path(folder).iterdir()):
                (Path(folder) / ABOUT).unlink(missing_ok=True)
                Path(folder).rmdir()


def num_writers(root: Path) -> int:
    """Processes that are adding to the cache at this moment."""
    drafts = (file for file in _files(root) if ".part" in file.path.suffixes and _writer_lives(file))
    return len({file.path.name.rpartition("-")[0] for file in drafts})


@dataclass(frozen=True)
class _File:
    path: Path
    num_bytes: int
    changed_s: float  # for an index: when it was last used


def _files(root: Path) -> Iterator[_File]:
    for folder, _, names in os.walk(root):
        for name in filter(NAME.fullmatch, names):
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


def remove(idx: Path) -> bool:
    """Remove a segment unless this process has it mapped; whether it is gone."""
    rows = idx.with_suffix(".bin")
    if rows in MAPPED:
        return False
    try:
        # The rows first: Windows refuses while another process maps them, and then the segment stays whole.
        rows.unlink(missing_ok=True)
        idx.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def tidy(root: Path, settings: CacheSettings) -> None:
    """Remove what dead writers left and what nobody has used for long."""
    _sweep(root)
    oldest_s = time.time() - settings.max_age_days * _DAY_S
    for segment in _segments(root):
        if segment.changed_s < oldest_s:
            remove(segment.path)


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
    where, pid, *_ = file.path.name.split("-")
    if where != place():
        return time.time() - file.changed_s < _DAY_S
    try:
        process = psutil.Process(int(pid))
        # A process that began long after the last write has inherited the number only. A day, since clocks differ.
        return bool(process.create_time() < file.changed_s + _DAY_S and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def make_room(root: Path, needed: int, settings: CacheSettings) -> None:
    """Evict segments, least recently used first, until `needed` bytes fit; none where that would not be enough.

    Raises:
        SpaceError: they do not fit.
    """
    private_folder(root)
    free, quota = limits(root, settings)
    short = max(usage(root) + needed - quota, needed + SPARE_BYTES - free)
    idle = [segment for segment in _segments(root) if segment.path.with_suffix(".bin") not in MAPPED]
    if short > sum(segment.num_bytes for segment in idle):
        raise no_room(root, needed, settings)
    evicted = []
    for segment in idle:
        if short > 0 and remove(segment.path):
            evicted.append(segment.num_bytes)
            short -= segment.num_bytes
    if evicted:
        notify("cache.evicted", count=len(evicted), size=Size(sum(evicted)))
    if short > 0:
        raise no_room(root, needed, settings)


def limits(root: Path, settings: CacheSettings) -> tuple[Size, Size]:
    """Bytes free on the disk, and the quota."""
    free = shutil.disk_usage(root).free
    # What the cache holds counts as free here, or the quota would shrink as the cache grows.
    quota = settings.quota_bytes or min(_QUOTA_BYTES, (free + usage(root)) // 2)
    return Size(free), Size(quota)


def no_room(root: Path, needed: int, settings: CacheSettings) -> SpaceError:
    """The error to raise where `needed` bytes do not fit."""
    free, quota = limits(root, settings)
    return SpaceError("cache.full", needed=Size(needed), free=free, quota=quota, root=root)
