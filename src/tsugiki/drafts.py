"""Folders that are written aside and put in place by a rename.

Whenever the machine stops, a folder is absent, as it was, or whole.
"""

import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tsugiki.errors import ConfigError, PackageError, SpaceError, TsugikiError, reason_of
from tsugiki.home import sync_folder

# Of Linux: paths as they are, and both names kept.
_HERE, _EXCHANGE = -100, 2


def require_free(folder: Path, replaceable: Sequence[str]) -> None:
    """Refuse a folder that cannot be written to, before minutes are spent.

    Args:
        folder: where; it may be empty, or hold an earlier one.
        replaceable: names that an earlier one may hold; it is known by the first.

    Raises:
        PackageError: something else is there.
        ConfigError: it may not be written.
    """
    _check_replaceable(folder, replaceable)
    above = next(parent for parent in folder.resolve().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        refused = OSError(errno.EACCES if above.is_dir() else errno.ENOTDIR, "")
        raise ConfigError("package.not_writable", path=folder, reason=f"{above}: {reason_of(refused)}")


def write_folder(folder: Path, files: Mapping[str, bytes], replaceable: Sequence[str]) -> None:
    """Write a folder whose files are known.

    Args:
        folder: where; it may be empty, or hold an earlier one.
        files: content by name; a name may lie in folders, such as `members/one/adapter.json`.
        replaceable: names that an earlier one may hold; it is known by the first.

    Raises:
        PackageError: something else is there.
        SpaceError: the disk is full.
        ConfigError: the folder cannot be written.
    """
    with drafted(folder, replaceable, needed_bytes=sum(map(len, files.values()))) as draft:
        for name, content in files.items():
            _write(draft / name, content)


@contextmanager
def drafted(folder: Path, replaceable: Sequence[str], needed_bytes: int = 0) -> Iterator[Path]:
    """A folder aside to write files into; it is put in place by a rename when the block ends, or vanishes if it fails.

    Args:
        folder: where; it may be empty, or hold an earlier one.
        replaceable: names that an earlier one may hold; it is known by the first.
        needed_bytes: that will be written, as far as that is known.

    Raises:
        PackageError: something else is there.
        SpaceError: the disk is full.
        ConfigError: the folder cannot be written.
    """
    place = folder.resolve()
    _check_replaceable(place, replaceable)
    draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}.part")
    try:
        draft.mkdir(parents=True)
        yield draft
        for path in (draft, *draft.rglob("*")):
            if path.is_dir():
                sync_folder(path)
            else:
                _sync(path)
        _exchange(draft, place)
        sync_folder(place.parent)
    except TsugikiError:
        # Some of them are an OSError too, and have said it better.
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            written = sum(file.stat().st_size for file in draft.rglob("*") if file.is_file())
            raise SpaceError("package.no_space", path=folder, needed=f"{max(needed_bytes, written):,}") from error
        raise ConfigError("package.not_writable", path=folder, reason=reason_of(error)) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check_replaceable(place: Path, replaceable: Sequence[str]) -> None:
    if not place.exists():
        return
    found = sorted(p.name for p in place.iterdir()) if place.is_dir() else [place.name]
    foreign = [name for name in found if name not in replaceable]
    if found and (foreign or replaceable[0] not in found):
        raise PackageError("package.occupied", path=place, found=(foreign or found)[0])


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _exchange(draft: Path, place: Path) -> None:
    if not place.exists():
        draft.rename(place)
        return
    if _swap(draft, place):
        return
    # Killed between these two, the older folder stays beside under its hidden name.
    old = draft.with_suffix(".old")
    place.rename(old)
    try:
        draft.rename(place)
    except BaseException:
        old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _swap(first: Path, second: Path) -> bool:
    """Let two folders change places in one step; False where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    return rename is not None and rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0
