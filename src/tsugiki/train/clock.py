"""How long work takes in the middle of several times."""

import time
from collections.abc import Callable
from statistics import median

import torch

from tsugiki.base.prefix_cache import CachedRows
from tsugiki.train.scion import Scion

_ANSWERS = 9


def median_s(work: Callable[[], object], times: int) -> float:
    """Seconds of some work, once it is warm.

    The least of them would be that of a machine on which nothing else ever runs, and foretell too little.
    """
    work()
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return median(found)


def answer_ms(scion: Scion, rows: CachedRows) -> float:
    """Milliseconds from tokens to states for one row of middle length, by all layers below the exit.

    Args:
        scion: attached to its base.
        rows: of which one is taken.
    """
    middle = sorted(range(len(rows)), key=lambda row: rows.lengths[row])[len(rows) // 2]
    ids, mask = rows.batch([middle])
    scion.set_training(None)
    with torch.inference_mode():
        return 1000 * median_s(lambda: scion.run(ids, mask), _ANSWERS)
