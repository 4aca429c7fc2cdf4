"""float32 or bfloat16: what is faster here is measured, once per machine and base, and remembered.

Equal seeds give equal tensors only in equal precision, so the answer must not change from run to run.
"""

import json
import platform
import time
from typing import Literal

import torch

from tsugiki.home import home, write_atomically
from tsugiki.i18n import notify
from tsugiki.spec import digest

Precision = Literal["auto", "fp32", "bf16"]

# bfloat16 costs accuracy: a tie goes to float32.
_WORTH = 1.3
_ROWS = 512
_TRIAL_S = 0.2


def choose_dtype(precision: Precision, base: str, width: int) -> torch.dtype:
    """The precision to load a base in.

    Args:
        precision: `auto` measures; anything else is taken as it is.
        base: place of the base, under which the answer is remembered.
        width: d of the base, for the timing.
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else torch.float32
    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = home() / "precision.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    key = digest([platform.node(), platform.processor(), device, torch.__version__, torch.get_num_threads(), base, width])
    if key not in known:
        speedup = measured_speedup(width, device)
        known[key] = {"choice": "bf16" if speedup > _WORTH else "fp32", "bf16_speedup": round(speedup, 2)}
        write_atomically(path, json.dumps(known, indent=1).encode())
        notify("base.precision", **known[key])
    return torch.bfloat16 if known[key]["choice"] == "bf16" else torch.float32


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
