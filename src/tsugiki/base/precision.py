"""float32 or bfloat16: what is faster here is measured, once per machine and base, and remembered.

Equal seeds give equal tensors only in equal precision, so the answer must not change from run to run.
"""

import json
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import torch

from tsugiki.home import home, write_atomically
from tsugiki.i18n import notify
from tsugiki.spec import digest

Precision = Literal["auto", "fp32", "bf16", "stored"]

# bfloat16 costs accuracy: a tie goes to float32.
_WORTH = 1.3
_ROWS = 512
_TRIAL_S = 0.2


def choose_dtype(precision: Precision, base: str, width: int, stored: torch.dtype | None = None) -> torch.dtype:
    """The precision to load a base in.

    Args:
        precision: `auto` measures, `stored` leaves the weights as they are; anything else is taken as it is.
        base: place of the base, under which the answer is remembered.
        width: d of the base, for the timing.
        stored: what the configuration of the base says of its weights, where it does.
    """
    if precision == "stored":
        return stored or torch.float32
    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else torch.float32
    device = "cuda" if torch.cuda.is_available() else "cpu"
    machine = [platform.node(), platform.processor(), device, torch.__version__, torch.get_num_threads()]
    key = digest([*machine, base, width])
    choice = _remembered().get(key)
    if choice is None:
        speedup = measured_speedup(width, device)
        choice = {"choice": "bf16" if speedup > _WORTH else "fp32", "bf16_speedup": round(speedup, 2)}
        # Read again, since another process may have added its own; a full disk only means measuring again.
        with suppress(OSError):
            write_atomically(_path(), json.dumps(_remembered() | {key: choice}, indent=1).encode())
    notify("base.precision", choice=choice["choice"], bf16_speedup=choice.get("bf16_speedup", "?"))
    return torch.bfloat16 if choice["choice"] == "bf16" else torch.float32


def _path() -> Path:
    return home() / "precision.json"


def _remembered() -> dict[str, dict[str, Any]]:
    """The choices made so far; a file that is damaged is begun anew."""
    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    entries = found.items() if isinstance(found, dict) else ()
    return {k: v for k, v in entries if isinstance(v, dict) and v.get("choice") in ("fp32", "bf16")}


def measured_speedup(width: int, device: str) -> float:
    """How many times faster bfloat16 is than float32 for the products of a layer of this width."""
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(_ROWS, width, device=device, dtype=dtype)
        weight = torch.randn(4 * width, width, device=device, dtype=dtype)
        torch.nn.functional.linear(x, weight)
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < _TRIAL_S:
            torch.nn.functional.linear(x, weight).sum().item()
            done += 1
        rates[dtype] = done / (time.perf_counter() - began)
    return rates[torch.bfloat16] / rates[torch.float32]
