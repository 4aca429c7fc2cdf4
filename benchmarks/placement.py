"""Placement chosen by evidence against the best cell of a grid.

`python -m benchmarks.placement --data FOLDER --out FILE [--sets NAME ...]`. The grid holds head, readouts and each
boundary, exit and form; every cell is trained on seed 0 and the best on validation is taken, as somebody with a night
to spare would. Then that cell and `--placement auto` are trained on fresh seeds and compared on test rows. `seconds` of
a cell are those of cache, head and its own training; of `auto` those of everything, and once more without its controls.
What is done is kept, so that a benchmark that is stopped goes on where it was. Folded sets: the first fold.
"""

import argparse
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.kept import Kept
from benchmarks.machine import machine
from benchmarks.sets import config, parts
from tsugiki.base.kernels import lean_kernels
from tsugiki.data.rows import Splits
from tsugiki.evaluate.run import evaluate
from tsugiki.placement.plan import Plan, readouts
from tsugiki.placement.strategies.uniform import Uniform
from tsugiki.train.candidate import Candidate
from tsugiki.train.config import Config
from tsugiki.train.planning import Lineup, lineup_of
from tsugiki.train.prepare import Prepared, prepare
from tsugiki.train.run import Trained, train_lineup

# Of each set, every how many-th exit stands in its grid: all 21 pairs of boundary and exit, or 12 of them.
SETS = {"faa_incident_type": 2, "failure_mode": 1, "goemotions_ekman": 2}
FORMS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "low_rank": (("linear",), {"kind": "low_rank", "rank": 8}),
    "bottleneck": (("residual",), {"kind": "bottleneck", "rank": 64}),
    "scale": (("linear",), {"kind": "scale"}),
}
FRESH = (1, 2, 3)


def cells(ready: Prepared, step: int) -> Iterator[tuple[str, Plan | None]]:
    """Names and plans of the grid; the head needs none."""
    layers = ready.base.num_layers
    yield "head", None
    for plan in readouts(ready.base.anatomy, layers):
        yield plan.variant, plan
    for form, (sites, fields) in FORMS.items():
        for exit in range(layers, 0, -step):
            for boundary in range(exit):
                strategy = Uniform(boundary=boundary, exit=exit, sites=sites, form=fields)
                (plan,) = strategy.plans(ready.base.anatomy)
                yield f"{form} {boundary}/{exit}", plan


def trained(ready: Prepared, plan: Plan | None) -> Trained:
    """One cell with head and words beside it."""
    with tempfile.TemporaryDirectory() as folder:
        return train_lineup(ready, Lineup([] if plan is None else [plan]), Path(folder))


def measured(found: Trained, splits: Splits, own: list[Candidate]) -> dict[str, float]:
    """Validation and test score of the best of some candidates, and what it took."""
    best = max(own, key=lambda candidate: (candidate.score, -candidate.loss))
    adapter = found.adapter_of(best)
    assert splits.test is not None
    score = evaluate(adapter, splits.test).score
    adapter.close()
    stepped = sum(c.train_s for c in own if "+ words" not in c.variant)
    head = sum(c.train_s for c in found.candidates if c.variant.startswith("head") and "+" not in c.variant)
    words = found.seconds.get("words", 0.0) if "words" in best.variant else 0.0
    alone = 0.0 if best.variant.startswith("head") else stepped
    return {"validation": best.score, "test": score, "seconds": found.seconds["cache"] + head + words + alone}


def cell(ready: Prepared, splits: Splits, plan: Plan | None) -> dict[str, float]:
    """Train a cell and measure it; nothing comes of a fresh readout where the head leaves no doubt."""
    with lean_kernels(ready.base.dtype):
        found = trained(ready, plan)
    name = "head" if plan is None else plan.variant
    own = [c for c in found.candidates if c.variant in (name, f"{name} + words")]
    result = measured(found, splits, own) if own else {}
    found.adapter.close()
    return result


def auto(splits: Splits, chosen: Config) -> dict[str, Any]:
    """What `--placement auto` delivers."""
    ready = prepare(splits, chosen)
    with lean_kernels(ready.base.dtype), tempfile.TemporaryDirectory() as folder:
        lineup = lineup_of(ready, Path(folder))
        found = train_lineup(ready, lineup, Path(folder))
    assert splits.test is not None
    controls = {plan.variant for plan in lineup.plans if plan.control}
    spent = sum(c.train_s for c in found.candidates if c.variant in controls)
    told = found.adapter.manifest
    result = {
        "variant": told.variant,
        "test": evaluate(found.adapter, splits.test).score,
        "seconds": found.seconds["total"],
        "seconds_without_controls": found.seconds["total"] - spent,
        "survey_s": found.seconds.get("survey", 0.0),
        "forecasts": told.model_dump(mode="json")["forecasts"],
        "controls": [{**c.model_dump(mode="json"), "verdict": c.verdict} for c in told.controls],
    }
    found.adapter.close()
    return result


def with_seed(name: str, seed: int, strategy: str) -> Config:
    """Settings of a run on a set."""
    usual = config(name, 0)
    placement = usual.placement.model_copy(update={"strategy": strategy})
    train = usual.train.model_copy(update={"seed": seed})
    # Fresh seeds compute their states anew: those are on the clock.
    cache = usual.cache.model_copy(update={"enabled": seed == 0})
    return usual.model_copy(update={"placement": placement, "train": train, "cache": cache})


def of_set(name: str, data: Path, kept: Kept) -> dict[str, Any]:
    """Everything about one set."""
    _, splits = next(parts(name, data))
    ready = prepare(splits, with_seed(name, 0, "uniform"))
    plans = dict(cells(ready, SETS[name]))
    grid = {at: kept.get(f"{name} grid {at}", partial(cell, ready, splits, plan)) for at, plan in plans.items()}
    grid = {at: result for at, result in grid.items() if result}
    best = max(grid, key=lambda at: (grid[at]["validation"], -grid[at]["seconds"]))
    fresh: dict[str, list[Any]] = {"cell": [], "auto": []}
    for seed in FRESH:
        again = prepare(splits, with_seed(name, seed, "uniform"))
        fresh["cell"].append(kept.get(f"{name} best {best} {seed}", partial(cell, again, splits, plans[best])))
        fresh["auto"].append(kept.get(f"{name} auto {seed}", partial(auto, splits, with_seed(name, seed, "evidence"))))
    return {"best": best, "grid": grid, **fresh, "summary": summary(fresh)}


def summary(fresh: dict[str, list[Any]]) -> dict[str, Any]:
    """Means over the fresh seeds."""
    grid, found = fresh["cell"], fresh["auto"]
    seconds = mean(g["seconds"] for g in grid)
    told: dict[str, Any] = {
        "points": 100 * (mean(a["test"] for a in found) - mean(g["test"] for g in grid)),
        "times_seconds": mean(a["seconds"] for a in found) / seconds,
        "times_seconds_without_controls": mean(a["seconds_without_controls"] for a in found) / seconds,
    }
    off = [
        abs(cost["predicted"] / cost["measured"] - 1)
        for a in found
        for costs in a["forecasts"].values()
        for cost in costs.values()
    ]
    told["forecast_median_off"] = sorted(off)[len(off) // 2] if off else None
    return told


def main() -> None:
    """Measure what is missing and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--kept", type=Path, default=Path(__file__).parent / "runs" / "placement.json")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    kept = Kept(options.kept)
    with tempfile.TemporaryDirectory() as home:
        os.environ["TSUGIKI_HOME"] = home
        found = {name: of_set(name, options.data, kept) for name in options.sets}
    for name, one in found.items():
        print(name, one["best"], json.dumps(one["summary"]))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"sets": found, "machine": machine()}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
