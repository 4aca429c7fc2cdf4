"""Where a run is kept until it is over: a folder of its own, found again by the same call after a kill.

The folder of a run belongs to the process that holds the lock on it, which ends with the process, however that ends.
So what a killed run left is taken up by the next call, and two equal runs at the same time do not meet.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO

from tsugiki.home import home, owner_only, private_folder

try:
    import fcntl
except ImportError:  # Windows, where equal runs must not be started at the same time
    fcntl = None  # type: ignore[assignment]

_LOCK = "lock"
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
    with lock:
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def _locked(folder: Path) -> IO[str] | None:
    """The lock on a folder; None where another process has it."""
    while True:
        try:
            # Closed by the caller.
            lock = open(private_folder(folder) / _LOCK, "a", opener=owner_only)  # noqa: SIM115
        except FileNotFoundError:
            continue
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock.fileno()), (folder / _LOCK).stat()):
                return lock
        except BlockingIOError:
            lock.close()
            return None
        except FileNotFoundError:
            pass
        # Whoever had it took the folder away in between.
        lock.close()


def _sweep(runs: Path) -> None:
    """Remove what was left by runs that nobody went on with."""
    for folder in runs.iterdir():
        with suppress(FileNotFoundError):
            old = time.time() - folder.stat().st_mtime > _KEPT_S
            if old and folder.is_dir() and (lock := _locked(folder)):
                with lock:
                    shutil.rmtree(folder, ignore_errors=True)
