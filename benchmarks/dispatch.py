"""Which dispatch is quickest for which sizes: the measurements behind `tsugiki.adapt.sizes`.

`python -m benchmarks.dispatch --out FILE`. Low-rank modules of rank 8 at one site of 384 by 384 channels, one thread,
no gradient; all dispatches take turns on the same numbers, medians in milliseconds. A dispatch is left out where it
would take minutes or gigabytes.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine
from benchmarks.serving import milliseconds
from tsugiki.adapt.dispatch import DISPATCHES, Dispatch
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.routing import Routing
from tsugiki.adapt.sizes import suited

WIDTH, RANK, ROUNDS = 384, 8, 12
# Modules, of which so many act; rows, tokens of each, modules of a row.
CASES = (
    *((64, acting, 64, 16, 1) for acting in (1, 4, 16, 64)),
    *((8, 8, 64, 64, 1), (256, 256, 256, 16, 1), (8, 8, 64, 1, 2)),
    *((modules, modules, 4_096, 1, 2) for modules in (8, 16, 32, 64)),
)
MOST_JOINED = 600


def of_case(modules: int, acting: int, rows: int, tokens: int, each: int) -> dict[str, Any]:
    """Milliseconds of every dispatch, and which one would be taken."""
    form, generator = LowRank(rank=RANK), torch.Generator().manual_seed(0)
    shapes = form.shapes(WIDTH, WIDTH).items()
    params = {name: 0.01 * torch.randn(modules, *shape, generator=generator) for name, shape in shapes}
    routing = Routing.of([{(row + at) % acting: 1.0 for at in range(each)} for row in range(rows)], modules)
    x, y = (torch.randn(rows, tokens, WIDTH, generator=generator) for _ in range(2))

    def run(dispatch: Dispatch) -> Any:
        def once() -> None:
            with torch.inference_mode():
                dispatch.added(form, params, routing, x, y)

        return once

    kinds = [kind for kind in DISPATCHES.names() if kind != "joined" or modules * RANK <= MOST_JOINED]
    times = milliseconds({kind: run(DISPATCHES.parse({"kind": kind})) for kind in kinds}, [()], ROUNDS)
    sizes = {"modules": modules, "acting": acting, "rows": rows, "tokens": tokens, "each": each}
    return {**sizes, "milliseconds": times, "taken": suited(form, routing, x).kind}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = [of_case(*case) for case in CASES]
    for one in found:
        times = ", ".join(f"{kind} {ms:.2f}" for kind, ms in one["milliseconds"].items())
        print({name: one[name] for name in ("modules", "acting", "rows", "tokens", "each")}, times, "->", one["taken"])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"cases": found, "machine": machine()}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
