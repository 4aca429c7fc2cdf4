"""What modules add to an answer, and what an exit saves: milliseconds and memory beside the bare base.

`python -m benchmarks.serving --out FILE`. The built-in base on the English demo tickets, tokens already made, at batch
1 and 32. All ways take turns, many rounds, and medians are compared: `base` is the model untouched; `null` has an
adapter attached and no route; `adapted` has the longest suffix that training tries by itself, rank 8 at all projections
of the upper half of the layers; `exit` leaves the upper third of the layers out and has such modules in the upper half
of what is left. Memory is what a process of its own holds above its libraries, mapped weights included, after it has
answered; the median of several processes.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import machine
from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.base.memory import PeakMemory, held_bytes, mapped_bytes, release_freed
from tsugiki.base.model import Base, load_base
from tsugiki.base.suffix import run_states
from tsugiki.base.tokens import encode, pad
from tsugiki.data.rows import read_splits
from tsugiki.placement.plan import STRATEGIES
from tsugiki.train.config import PlacementSettings

ROUNDS, PROCESSES = 60, 5
NAME = "adapter"
WAYS = ("base", "null", "adapted", "exit")
Answer = Callable[[Tensor, Tensor | None], Any]


def answering(way: str) -> tuple[Base, Answer]:
    """A base of its own, and how it answers ids and mask (B, S)."""
    whole = load_base(None, precision="fp32", exit=1).num_layers
    exit = 2 * whole // 3 if way == "exit" else whole
    base = load_base(None, precision="fp32", exit=exit)

    def bare(ids: Tensor, mask: Tensor | None) -> Any:
        return base.model(input_ids=ids, attention_mask=mask).last_hidden_state

    if way == "base":
        return base, bare
    adapted = AdaptedModel(base.model, base.anatomy)
    usual = PlacementSettings()
    given = {"kind": "top", "sites": usual.sites, "form": usual.form, "boundary": exit // 2, "exit": exit}
    adapted.attach(NAME, STRATEGIES.parse(given).plans(base.anatomy)[0].grafts)
    if way == "null":
        return base, bare

    def routed(ids: Tensor, mask: Tensor | None) -> Any:
        with adapted.using(NAME):
            return run_states(base.model, base.anatomy, ids, mask, (exit,))[exit]

    return base, routed


def batches(base: Base, texts: tuple[str, ...], size: int) -> list[tuple[Tensor, Tensor | None]]:
    """Ids and mask of groups of texts as they come; no mask where nothing is padded."""
    ids = encode(base, texts, 256)
    found = []
    for start in range(0, len(ids) - size + 1, size):
        batch, mask = pad(ids[start : start + size])
        found.append((batch, None if bool(mask.all()) else mask))
    return found


@torch.inference_mode()
def milliseconds(
    answers: dict[str, Callable[..., Any]],
    given: Sequence[tuple[Any, ...]],
    rounds: int = ROUNDS,
    middle: Callable[[list[float]], float] = median,
) -> dict[str, float]:
    """Median of each way, or another middle; they take turns on what is given, in another order each time."""
    spent: dict[str, list[float]] = {way: [] for way in answers}
    order = list(answers)
    for number in range(rounds + 3):
        order = order[1:] + order[:1]
        for way in order:
            began = time.perf_counter()
            answers[way](*given[number % len(given)])
            if number >= 3:
                spent[way].append(1000 * (time.perf_counter() - began))
    return {way: middle(times) for way, times in spent.items()}


def memory(way: str, texts: tuple[str, ...]) -> int:
    """Bytes that a process holds for answering, above its libraries."""
    found = []
    for _ in range(PROCESSES):
        with get_context("spawn").Pool(1) as pool:
            found.append(pool.apply(_memory, (way, texts)))
    return int(median(found))


@torch.inference_mode()
def _memory(way: str, texts: tuple[str, ...]) -> int:
    load_base(None, precision="fp32", exit=1)  # what libraries bring in on first use
    release_freed()
    held, mapped = held_bytes(), mapped_bytes(".safetensors")
    with PeakMemory() as peak:
        base, answer = answering(way)
        for ids, mask in batches(base, texts, 32):
            answer(ids, mask)
        mapped = mapped_bytes(".safetensors") - mapped
    return max(0, peak.peak_bytes - held) + max(0, mapped)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = read_splits(str(files("tsugiki") / "demo" / "tickets_en")).test
    assert rows is not None
    ways = {way: answering(way) for way in WAYS}
    answers = {way: answer for way, (_, answer) in ways.items()}
    times = {size: milliseconds(answers, batches(ways["base"][0], rows.texts, size)) for size in (1, 32)}
    held = {way: memory(way, rows.texts) for way in WAYS}
    results = []
    for way in WAYS:
        results.append(
            {
                "dataset": "tickets_en",
                "method": way,
                "latency_ms_p50": times[1][way],
                "latency_ms_p50_batch32": times[32][way],
                "times_base": times[1][way] / times[1]["base"],
                "times_base_batch32": times[32][way] / times[32]["base"],
                "serve_peak_bytes": held[way],
                "machine": machine(),
            }
        )
        one, many = results[-1]["times_base"], results[-1]["times_base_batch32"]
        print(f"{way:8} {one:.3f} x at batch 1, {many:.3f} x at 32, {held[way] / 1e6:.0f} MB")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
