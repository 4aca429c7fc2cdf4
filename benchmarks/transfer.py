"""How far the modules of one set carry over to another.

`python -m benchmarks.transfer --data FOLDER --out FILE`. Each of seven sets trains modules at all projections of the
upper half of the built-in base (low-rank, rank 8) on 1,024 of its rows. Each set then draws 256 rows and asks at most
1,000 test rows: its own head with those modules on that it was not fitted with (`kept`,
what a wrong route costs), a head fitted over them (`read`), and modules and head trained on from there (`start`),
beside the plain head and modules trained from nothing on the same rows. Points are differences on the same test rows;
the interval of the mean over all pairs is that of 2,000 resamples of whole target sets.
"""

import argparse
import json
import logging
import os
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.kept import Kept
from benchmarks.lab import Lab, built_in, grown, head_of, score, under
from benchmarks.machine import machine
from tsugiki.placement.plan import Plan
from tsugiki.placement.strategies.top import Top
from tsugiki.train.loop import Labelled

SETS = ("banking77", "clinc150", "snips", "goemotions_ekman", "dbpedia14", "faa_incident_type", "failure_mode")
LEARNT, FEW, DRAWS = 1_024, 256, 1
TITLES = {
    "kept": "own head, those modules switched on",
    "read": "a head fitted over those modules",
    "start": "trained on from those modules (against from nothing)",
}
RESAMPLES, LEVEL = 2_000, 0.95


def usual(lab: Lab) -> Plan:
    """All projections of the upper half."""
    form = {"kind": "low_rank", "rank": 8}
    (plan,) = Top(boundary=lab.boundary, sites=("linear",), form=form).plans(lab.base.anatomy)
    return plan


def modules_of(lab: Lab) -> dict[str, Tensor]:
    """The modules that a set trains."""
    plan = usual(lab)
    train, held = lab.draw(LEARNT, 0)
    tensors = grown(train, held, plan, head_of(train, held, plan).start, 0).tensors
    return {name: tensor for name, tensor in tensors.items() if name.startswith("modules.")}


def asked(lab: Lab, modules: dict[str, Tensor] | None, seed: int) -> dict[str, float]:
    """Scores of a set on its own draw: without modules and from nothing, or with those of another."""
    plan = usual(lab)
    train, held = lab.draw(FEW, 1 + seed)
    head = head_of(train, held, plan)
    if modules is None:
        fresh = grown(train, held, plan, head.start, seed)
        return {"head": score(head, lab.test, lab.boundary), "fresh": score(fresh, lab.test, lab.boundary)}

    def lifted(rows: Labelled) -> Labelled:
        return replace(rows, rows=under(plan.grafts, modules, rows.rows, lab.boundary))

    over = head_of(lifted(train), lifted(held), plan)
    test = lifted(lab.test)
    params = {**modules, **over.tensors}
    started = grown(train, held, replace(plan, params=params), None, seed)
    return {
        "kept": score(head, test, lab.boundary),
        "read": score(over, test, lab.boundary),
        "start": score(started, lab.test, lab.boundary),
    }


def matrices(found: dict[str, Any]) -> dict[str, list[list[float]]]:
    """Points by what is asked, a line for each set whose modules they are, a column for each set asked."""
    against = {"kept": "head", "read": "head", "start": "fresh"}

    def points(what: str, source: str, target: str) -> float:
        own, other = found["own"][target], found["under"][source][target]
        return 100 * float(np.mean([o[what] - p[against[what]] for o, p in zip(other, own, strict=True)]))

    return {what: [[points(what, s, t) for t in SETS] for s in SETS] for what in TITLES}


def means(matrix: list[list[float]]) -> dict[str, float]:
    """Mean over pairs of different sets, and its interval over target sets."""
    points = np.array(matrix)
    np.fill_diagonal(points, np.nan)
    by_target = np.nanmean(points, axis=0)
    drawn = np.random.default_rng(0).integers(len(by_target), size=(RESAMPLES, len(by_target)))
    low, high = np.quantile(by_target[drawn].mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"points": float(by_target.mean()), "low": float(low), "high": float(high)}


def draw(found: dict[str, list[list[float]]]) -> Figure:
    """The three matrices side by side."""
    picture = Figure(figsize=(16, 5.4), dpi=130, layout="constrained")
    for number, (axes, (what, title)) in enumerate(zip(picture.subplots(1, 3), TITLES.items(), strict=True)):
        points = np.array(found[what])
        most = max(1.0, float(np.quantile(np.abs(points), 0.9)))
        image = axes.imshow(points, cmap="RdBu", vmin=-most, vmax=most)
        axes.set_xticks(range(len(SETS)), SETS, rotation=40, ha="right", fontsize=8)
        axes.set_yticks(range(len(SETS)), SETS if number == 0 else ("",) * len(SETS), fontsize=8)
        for y, x in np.ndindex(*points.shape):
            colour = "white" if abs(points[y, x]) > 0.6 * most else "black"
            axes.text(x, y, f"{points[y, x]:+.1f}", ha="center", va="center", fontsize=8, color=colour)
        axes.set_title(f"{title}, points", loc="left", fontsize=9)
        axes.set_xlabel("set that is asked", fontsize=9)
        picture.colorbar(image, ax=axes, shrink=0.7)
        if number == 0:
            axes.set_ylabel("set whose modules they are", fontsize=9)
    return picture


def main() -> None:
    """Measure what is missing, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--kept", type=Path, default=Path(__file__).parent / "runs" / "transfer.json")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    kept, found = Kept(options.kept), dict[str, Any](own={}, under={})
    with tempfile.TemporaryDirectory() as home:
        os.environ["TSUGIKI_HOME"] = home
        base = built_in()
        labs = {name: Lab.of(name, options.data, base) for name in SETS}
        for name, lab in labs.items():
            found["own"][name] = [kept.get(f"{name} {seed}", partial(asked, lab, None, seed)) for seed in range(DRAWS)]
        for source in SETS:
            modules: dict[str, Tensor] = {}

            def moved(lab: Lab, seed: int, source: str = source, modules: dict[str, Tensor] = modules) -> Any:
                modules.update(modules or modules_of(labs[source]))
                return asked(lab, modules, seed)

            found["under"][source] = {
                target: [kept.get(f"{source} > {target} {seed}", partial(moved, lab, seed)) for seed in range(DRAWS)]
                for target, lab in labs.items()
            }
    points = matrices(found)
    told = {what: means(matrix) for what, matrix in points.items()}
    for what, mean in told.items():
        print(f"{TITLES[what]}: {mean['points']:+.1f} points [{mean['low']:+.1f}, {mean['high']:+.1f}]")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    results = {"sets": SETS, "points": points, "means": told, **found, "machine": machine()}
    options.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    draw(points).savefig(options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
