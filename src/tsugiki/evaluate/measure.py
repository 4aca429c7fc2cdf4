"""What a method costs: seconds, milliseconds, operations and bytes."""

import ctypes
import gc
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

_SAMPLE_S = 0.01
_WARM_UP_CALLS = 2
_TIMED_CALLS = 64
_TIMED_S = 1.0
_COUNTED_ROWS = 4
_STATUS = Path("/proc/self/status")


class Clock:
    """Seconds since it was made, less those it was paused for."""

    def __init__(self) -> None:
        self._began = _now()
        self._paused_s = 0.0

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return _now() - self._began - self._paused_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What runs inside is not counted."""
        stopped = _now()
        try:
            yield
        finally:
            self._paused_s += _now() - stopped


def _now() -> float:
    if torch.cuda.is_available():  # work that is queued is not done
        torch.cuda.synchronize()
    return time.perf_counter()


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


def folder_bytes(folder: Path) -> int:
    """Size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def latency_ms_p50(predict: Callable[[Sequence[str]], object], texts: Sequence[str], batch: int = 1) -> float:
    """Median milliseconds of one call with `batch` texts, over at most 64 calls and 1 s after two to warm up."""
    groups = [[texts[(i + k) % len(texts)] for k in range(batch)] for i in range(0, batch * _TIMED_CALLS, batch)]
    # Many rows at once warm up what one call needs.
    for group in groups[: _WARM_UP_CALLS if batch == 1 else 1]:
        predict(group)
    spent_s: list[float] = []
    for group in groups:
        began = _now()
        predict(group)
        spent_s.append(_now() - began)
        if sum(spent_s) > _TIMED_S:
            break
    return 1000 * float(np.median(spent_s))


def infer_flops(predict: Callable[[Sequence[str]], object], texts: Sequence[str]) -> int:
    """Operations of torch for one text, the mean over at most 4.

    Sparse products of words are no torch operations and not counted: thousands beside the millions of a base.
    """
    some = texts[:_COUNTED_ROWS]
    with FlopCounterMode(display=False) as counter:
        for text in some:
            predict([text])
    return int(counter.get_total_flops() // len(some))
