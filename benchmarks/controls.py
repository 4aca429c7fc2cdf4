"""Placement chosen by evidence against placements of the same cost that chance or habit would take.

`python -m benchmarks.controls --data FOLDER --out FILE [--sets NAME ...]`. On three fresh seeds of a set the evidence
chooses a placement; it, a uniform and a random control are each trained to their end and asked the test rows. Nothing
is timed. What is done is kept. Folded sets: the first fold.
"""

import argparse
import json
import logging
import os
import tempfile
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.kept import Kept
from benchmarks.machine import machine
from benchmarks.placement import FRESH, SETS, cell, with_seed
from benchmarks.sets import parts
from tsugiki.base.kernels import lean_kernels
from tsugiki.data.rows import Splits
from tsugiki.placement.choice import choose
from tsugiki.placement.controls import controls_of
from tsugiki.placement.strategies.evidence import Evidence
from tsugiki.train.config import Config
from tsugiki.train.planning import strategy_of
from tsugiki.train.prepare import prepare
from tsugiki.train.survey import survey


def alone(splits: Splits, chosen: Config) -> dict[str, Any]:
    """The chosen placement and its controls, each trained to its end."""
    ready = prepare(splits, chosen)
    strategy = strategy_of(chosen)
    assert isinstance(strategy, Evidence)
    with lean_kernels(ready.base.dtype):
        ground = survey(ready, strategy)
    choice = choose(ground)
    if choice.chosen is None:
        return {}
    plans = [choice.chosen.plan, *controls_of(choice.chosen, ground, seed=0)]
    results = {plan.variant.split()[0]: cell(ready, splits, plan) for plan in plans}
    return {"reliability": ground.evidence.reliability, "plan": choice.chosen.plan.variant, **results}


def gains(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Points of the choice over each control, with the standard error over seeds."""
    told = {}
    for control in ("uniform", "random"):
        points = [100 * (one["evidence"]["test"] - one[control]["test"]) for one in found if control in one]
        if len(points) > 1:
            told[control] = {"points": mean(points), "error": stdev(points) / len(points) ** 0.5, "seeds": len(points)}
    return told


def main() -> None:
    """Train what is missing and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--kept", type=Path, default=Path(__file__).parent / "runs" / "controls.json")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    kept, found = Kept(options.kept), dict[str, Any]()
    with tempfile.TemporaryDirectory() as home:
        os.environ["TSUGIKI_HOME"] = home
        for name in options.sets:
            _, splits = next(parts(name, options.data))
            chosen = {seed: with_seed(name, seed, "evidence") for seed in FRESH}
            runs = [kept.get(f"{name} {seed}", partial(alone, splits, chosen[seed])) for seed in FRESH]
            found[name] = {"runs": runs, "gains": gains(runs)}
            print(name, json.dumps(found[name]["gains"]))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"sets": found, "machine": machine()}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
