"""What the cache saves: the same training twice on the same rows, the second time with the states of the first.

`python -m benchmarks.warm --out FILE`. The built-in base on the English demo tickets, each way of training three times
in a home of its own; `expected` is `1 + b / (2 (e - b) P)` for a suffix of layers b to e trained for P epochs: a layer
costs one unit forward for the cache, and two, forward and backward, in each epoch.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import machine
from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.base.model import Base, load_base
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.data.rows import Rows, read_splits
from tsugiki.placement.plan import STRATEGIES, Plan, head_states
from tsugiki.tasks.kinds.classify import Classify
from tsugiki.train.checkpoint import Checkpoint
from tsugiki.train.config import TrainSettings
from tsugiki.train.heads import head_candidate
from tsugiki.train.loop import Labelled, fit
from tsugiki.train.scion import Scion
from tsugiki.train.track import Track

TIMES, EPOCHS, LENGTH, NEW = 3, 6, 256, 20
Train = Callable[[Labelled], float]
"""Seconds of training on rows."""


def head(base: Base) -> Train:
    """The head alone."""
    return lambda rows: head_candidate(rows, _few(rows), head_states(base.num_layers)).train_s


def planned(base: Base, plan: Plan) -> Train:
    """All epochs of a plan; early stopping would make two runs of different length."""
    settings = TrainSettings(epochs=EPOCHS, patience=EPOCHS)

    def train(rows: Labelled) -> float:
        with tempfile.TemporaryDirectory() as folder:
            track = Track(base, rows, _few(rows), settings, Path(folder))
            scion = Scion(AdaptedModel(base.model, base.anatomy), plan.grafts, track.classifier(plan, None), 0)
            seconds = fit(scion, rows, _few(rows), settings, Checkpoint(Path(folder), "run"), plan.variant).train_s
            scion.close()
        return seconds

    return train


def again(base: Base, rows: Rows, states: tuple[int, ...], train: Train) -> list[tuple[float, float]]:
    """(seconds of cache, seconds of training) in an empty home: without the new rows, once more, and with them."""
    task = Classify(labels=rows.classes)
    known = rows.take(range(len(rows) - NEW))
    found = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["TSUGIKI_HOME"] = home
        for part in (known, known, rows):
            cached = PrefixCache(base, LENGTH).rows(part.texts, states, base.num_layers)
            found.append((cached.cache_s, train(Labelled(cached, task.targets(part.labels or ()), task))))
    return found


def _few(rows: Labelled) -> Labelled:
    """Nothing to validate on: only training is timed."""
    cached = rows.rows
    first = type(cached)(cached.base, cached.token_ids[:1], cached.pooled[:1], cached.stored)
    return Labelled(first, rows.targets[:1], rows.task)


def main() -> None:
    """Measure and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    splits = read_splits(str(files("tsugiki") / "demo" / "tickets_en"))
    assert splits.train is not None and splits.validation is not None
    labels = (*(splits.train.labels or ()), *(splits.validation.labels or ()))
    rows = Rows(splits.train.texts + splits.validation.texts, labels)
    base = load_base(None, precision="fp32")
    layers = base.num_layers
    given: dict[str, Any] = {"sites": ["residual"], "form": {"kind": "bottleneck", "rank": 32}}
    strategy = STRATEGIES.parse({"kind": "top", **given})
    readout = STRATEGIES.parse({"kind": "race", **given}).plans(base.anatomy)[0]
    ways: dict[str, tuple[tuple[int, ...], Train, float | None]] = {
        "head": ((), head(base), None),
        "readout": (readout.states, planned(base, readout), None),
    }
    for boundary in (2 * layers // 3, layers // 2):
        plan = strategy.suffix(base.anatomy, boundary)
        saved = 1 + boundary / (2 * (layers - boundary) * EPOCHS)
        ways[plan.variant] = ((boundary,), planned(base, plan), saved)
    results = []
    for variant, (states, train, expected) in ways.items():
        runs = [again(base, rows, states, train) for _ in range(TIMES)]
        first, second, more = (tuple(median(run[at][part] for run in runs) for part in (0, 1)) for at in range(3))
        ratio = median(sum(run[0]) / sum(run[1]) for run in runs)
        with_new = median(sum(run[2]) / sum(run[0]) for run in runs)
        results.append(
            {
                "dataset": "tickets_en",
                "method": "tsugiki",
                "variant": variant,
                "rows": len(rows),
                "epochs": EPOCHS,
                "first_cache_s": first[0],
                "first_train_s": first[1],
                "second_cache_s": second[0],
                "second_train_s": second[1],
                "times_faster": ratio,
                "new_rows": NEW,
                "new_rows_cache_s": more[0],
                "new_rows_train_s": more[1],
                "new_rows_share_of_first": with_new,
                "expected": expected,
                "machine": machine(),
            }
        )
        told = f"{sum(first):6.2f} s, then {sum(second):6.2f} s: {ratio:.2f} x ({expected or 3:.2f})"
        print(f"{variant:12} {told}; with {NEW} new rows {with_new:.2f} of the first time")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
