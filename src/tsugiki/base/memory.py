"""Memory that this process needs: what it holds, what it held at most, and what of files is in it."""

import ctypes
import gc
import re
import threading
from pathlib import Path
from typing import Self

import psutil
import torch

_SAMPLE_S = 0.01
_STATUS = Path("/proc/self/status")


class PeakMemory:
    """Highest memory of this process within the block, sampled every 10 ms.

    It counts anonymous pages and, where there is an accelerator, what is allocated there: memory that has to be there.
    Pages of files, such as memory-mapped weights and caches, can be dropped at any time and are left out.
    """

    peak_bytes: int = 0

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._sampler.join()
        device_bytes = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        self.peak_bytes = max(self.peak_bytes, anonymous_bytes()) + device_bytes

    def _sample(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            self.peak_bytes = max(self.peak_bytes, anonymous_bytes())


class Growth(PeakMemory):
    """By how much the memory of this process grows at most within the block, above what it held when this was made."""

    def __init__(self) -> None:
        release_freed()
        self._held = held_bytes()

    @property
    def num_bytes(self) -> int:
        """The growth, when the block is over."""
        return max(0, self.peak_bytes - self._held)


def held_bytes() -> int:
    """Memory that this process holds now, as `PeakMemory` counts it."""
    return anonymous_bytes() + (torch.cuda.memory_allocated() if torch.cuda.is_available() else 0)


def release_freed() -> None:
    """Give freed memory back to the system, where the C library can: what lies idle would hide what is needed next."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def anonymous_bytes() -> int:
    """Anonymous pages of this process that are in memory; where the system does not tell, all that are its alone."""
    try:
        # Not `smaps_rollup`: that walks every page and would slow down what it measures.
        found = re.search(r"RssAnon:\s+(\d+)", _STATUS.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        found = None
    return 1024 * int(found[1]) if found else int(psutil.Process().memory_full_info().uss)


def mapped_bytes(suffix: str) -> int:
    """Pages in memory of files whose name ends in `suffix`; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    total, counts = 0, False
    for line in lines:
        if re.match(r"[0-9a-f]+-", line):
            counts = line.endswith(suffix)
        elif counts and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total
