"""Where a run is kept until it is over: a folder of its own, found again by the same call after a kill.

The folder of a run belongs to the process that holds the lock on it, which ends with the process, however that ends.
So what a killed run left is taken up by the next call, and two equal runs at the same time do not meet.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from tsugiki.home import home, private_folder

_LOCK = "lock"
_OWNER_ONLY = 0o600
_KEPT_S = 30 * 86_400.0


@contextmanager
def run_folder(key: str) -> Iterator[Path]:
    """The folder of one run; removed where the block ends well, kept where it does not.

    Args:
        key: of the run; equal where everything that decides its outcome is equal.
    """
    runs = private_folder(home() / "runs")
    _sweep(runs)
    folders = (runs / (f"{key}-{number}" if number else key) for number in count())
    folder, lock = next((folder, lock) for folder in folders if (lock := _locked(folder)))
    try:
        yield folder
        _remove(folder)
    finally:
        lock.release()


def _locked(folder: Path) -> BaseFileLock | None:
    """The lock on a folder; None where another process has it, or took the folder away in this moment."""
    lock = FileLock(private_folder(folder) / _LOCK, mode=_OWNER_ONLY, blocking=False)
    try:
        lock.acquire()
    except (Timeout, FileNotFoundError):
        return None
    return lock


def _remove(folder: Path) -> None:
    """Take a folder away, its lock while it is held: whoever comes after finds no file of that name to wait for."""
    shutil.rmtree(folder, ignore_errors=True)


def _sweep(runs: Path) -> None:
    """Remove what was left by runs that nobody went on with."""
    for folder in runs.iterdir():
        with suppress(FileNotFoundError):
            old = time.time() - folder.stat().st_mtime > _KEPT_S
            if old and folder.is_dir() and (lock := _locked(folder)):
                _remove(folder)
                lock.release()
