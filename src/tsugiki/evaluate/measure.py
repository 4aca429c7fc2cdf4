"""What a method costs: seconds, milliseconds, operations and bytes of files."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from tsugiki.data.rows import Rows

_WARM_UP_CALLS = 2
_TIMED_CALLS = 64
_TIMED_S = 1.0
_COUNTED_ROWS = 4


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


def folder_bytes(folder: Path) -> int:
    """Size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def latency_ms_p50(predict: Callable[[Rows], object], rows: Rows, batch: int = 1) -> float:
    """Median milliseconds of one call with `batch` rows, over at most 64 calls and 1 s after two to warm up."""
    starts = range(0, batch * _TIMED_CALLS, batch)
    groups = [rows.take((start + k) % len(rows) for k in range(batch)) for start in starts]
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


def infer_flops(predict: Callable[[Rows], object], rows: Rows) -> int:
    """Operations of torch for one row, the mean over at most 4.

    Sparse products of words are no torch operations and not counted: thousands beside the millions of a base.
    """
    some = range(min(_COUNTED_ROWS, len(rows)))
    with FlopCounterMode(display=False) as counter:
        for at in some:
            predict(rows.take([at]))
    return int(counter.get_total_flops() // len(some))
