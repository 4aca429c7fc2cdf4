"""How many modules of which rank do good at how many rows: scores, and the gap between rows learnt from and others.

`python -m benchmarks.generalisation --data FOLDER --out FILE`. On the built-in base 2, 6 or 18 low-rank modules of rank
2, 8 or 32 are spread evenly over the projections of the upper half of the layers and trained on 64, 256 and 1,024 rows
of a set, three draws each, as `tsugiki train` would; beside them stands the head alone that they start from. Test rows
are at most 1,000, the same for all. What two more modules or ranks bring is fitted over the draws, the head of the same
draw taken off, and its interval is that of 2,000 resamples of whole draws. What is done is kept.
"""

import argparse
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.kept import Kept
from benchmarks.lab import Lab, built_in, grown, head_of, score
from benchmarks.machine import machine
from tsugiki.adapt.adapted import Graft
from tsugiki.adapt.form import FORMS
from tsugiki.adapt.reader import READERS
from tsugiki.base.anatomy import RESIDUAL, Anatomy
from tsugiki.placement.plan import Plan, head_states

SETS = ("failure_mode", "faa_incident_type", "goemotions_ekman")
ROWS, DRAWS = (64, 256, 1_024), 3
MODULES, RANKS = (2, 6, 18), (2, 8, 32)
RESAMPLES, LEVEL = 2_000, 0.95
Row = dict[str, Any]


def plan_of(anatomy: Anatomy, boundary: int, modules: int, rank: int) -> Plan:
    """Modules spread evenly over the projections above a boundary; the first stands at it."""
    places = [
        (layer, site.name)
        for layer in range(boundary, anatomy.num_layers)
        for site in anatomy.sites[layer]
        if site.name != RESIDUAL
    ]
    form = FORMS.parse({"kind": "low_rank", "rank": rank})
    taken = [places[number * len(places) // modules] for number in range(modules)]
    grafts = tuple(Graft(layer, site, form) for layer, site in taken)
    return Plan(f"{modules} of {rank}", head_states(anatomy.num_layers), READERS.parse({"kind": "mean"}), grafts)


def of_draw(lab: Lab, size: int, seed: int, kept: Kept, name: str) -> Iterator[Row]:
    """The head and all modules on one draw."""
    drawn = None
    for modules, rank in [(0, 0), *((modules, rank) for modules in MODULES for rank in RANKS)]:

        def measured(modules: int = modules, rank: int = rank) -> Row:
            nonlocal drawn
            drawn = drawn or lab.draw(size, seed)
            train, held = drawn
            plan = plan_of(lab.base.anatomy, lab.boundary, max(1, modules), rank or 1)
            head = head_of(train, held, plan)
            found = grown(train, held, plan, head.start, seed) if modules else head
            return {
                "params": found.num_trainable if modules else 0,
                "learnt": score(found, train, lab.boundary),
                "test": score(found, lab.test, lab.boundary),
            }

        result = kept.get(f"{name} {size} {seed} {modules} {rank}", measured)
        yield {"set": name, "rows": size, "draw": seed, "modules": modules, "rank": rank, **result}


def over_head(rows: Sequence[Row]) -> list[Row]:
    """What modules add, in points: to the score on test rows, and to the gap between rows learnt from and those."""
    heads = {(r["set"], r["rows"], r["draw"]): r for r in rows if not r["modules"]}
    found = []
    for row in rows:
        head = heads[row["set"], row["rows"], row["draw"]]
        if row["modules"]:
            gaps = [100 * (r["learnt"] - r["test"]) for r in (row, head)]
            found.append(row | {"score": 100 * (row["test"] - head["test"]), "gap": gaps[0] - gaps[1]})
    return found


def fitted(rows: Sequence[Row], what: str) -> dict[str, Any]:
    """Points that twice the modules and twice the rank bring, and what six modules of rank 8 do, with intervals."""
    draws = sorted({(r["set"], r["draw"]) for r in rows})
    of_draw = [[r for r in rows if (r["set"], r["draw"]) == draw] for draw in draws]
    rng = np.random.default_rng(0)
    whole = _least_squares(rows, what)
    drawn = [
        _least_squares([r for at in rng.integers(len(draws), size=len(draws)) for r in of_draw[at]], what)
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    names = ("middle", "twice_the_modules", "twice_the_rank")
    columns = zip(names, whole, low, high, strict=True)
    found = {n: {"points": float(w), "low": float(a), "high": float(b)} for n, w, a, b in columns}
    return found | {"draws": len(draws)}


def _least_squares(rows: Sequence[Row], what: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    x = [(1.0, np.log2(r["modules"] / MODULES[1]), np.log2(r["rank"] / RANKS[1])) for r in rows]
    return np.asarray(np.linalg.lstsq(np.array(x), np.array([r[what] for r in rows]), rcond=None)[0])


def told(fit: dict[str, Any], what: str) -> str:
    """A rule where the interval allows one."""
    words = []
    for name in ("twice_the_modules", "twice_the_rank"):
        f = fit[name]
        shown = "" if f["low"] > 0 or f["high"] < 0 else ", not shown"
        words.append(f"{name.replace('_', ' ')} {f['points']:+.2f} [{f['low']:+.2f}, {f['high']:+.2f}]{shown}")
    middle = fit["middle"]
    return f"{what}: {middle['points']:+.1f} [{middle['low']:+.1f}, {middle['high']:+.1f}]; {'; '.join(words)}"


def draw(found: dict[str, Any]) -> Figure:
    """Score and gap over the head against the number of modules, a line for each rank, a column for each size."""
    picture = Figure(figsize=(11, 6), dpi=150, layout="constrained")
    added = over_head(found["rows"])
    grid = picture.subplots(2, len(ROWS), sharex=True, sharey="row", squeeze=False)
    titles = {"score": "test score over the head, points", "gap": "train-test gap over the head's, points"}
    for line, (what, title) in zip(grid, titles.items(), strict=True):
        for axes, size in zip(line, ROWS, strict=True):
            fit = found["fits"].get(str(size))
            for rank, colour in zip(RANKS, ("#56B4E9", "#0072B2", "#D55E00"), strict=True):
                means, errors = _by_modules(added, size, rank, what)
                axes.errorbar(MODULES, means, errors, color=colour, marker="o", capsize=3, label=f"rank {rank}")
                if fit:
                    a, m, r = (fit[what][n]["points"] for n in ("middle", "twice_the_modules", "twice_the_rank"))
                    along = [a + m * np.log2(k / MODULES[1]) + r * np.log2(rank / RANKS[1]) for k in MODULES]
                    axes.plot(MODULES, along, color=colour, linestyle=":", linewidth=1)
            axes.axhline(0, color="grey", linewidth=0.8)
            axes.set_xscale("log", base=2)
            axes.set_xticks(MODULES, [str(modules) for modules in MODULES])
            axes.spines[["top", "right"]].set_visible(False)
            if what == "score":
                axes.set_title(f"{size} rows", loc="left", fontsize=10)
        line[0].set_ylabel(title, fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("modules")
    grid[0][0].legend(frameon=False, fontsize=8)
    picture.suptitle("Bars: standard error over sets and draws. Dotted: what is fitted.", fontsize=9)
    return picture


def _by_modules(rows: Sequence[Row], size: int, rank: int, what: str) -> tuple[list[float], list[float]]:
    own = [[r[what] for r in rows if (r["rows"], r["rank"], r["modules"]) == (size, rank, m)] for m in MODULES]
    return [float(np.mean(o)) for o in own], [float(np.std(o, ddof=1) / len(o) ** 0.5) for o in own]


def main() -> None:
    """Measure what is missing, fit, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--kept", type=Path, default=Path(__file__).parent / "runs" / "generalisation.json")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    kept, rows = Kept(options.kept), list[Row]()
    with tempfile.TemporaryDirectory() as home:
        os.environ["TSUGIKI_HOME"] = home
        base = built_in()
        for name in SETS:
            lab = Lab.of(name, options.data, base)
            for size in ROWS:
                for seed in range(DRAWS) if size <= len(lab.pool) else ():
                    rows += of_draw(lab, size, seed, kept, name)
    added = over_head(rows)
    fits = {size: {w: fitted([r for r in added if r["rows"] == size], w) for w in ("score", "gap")} for size in ROWS}
    for size, fit in fits.items():
        print(size, "rows;", *(told(fit[what], what) + "." for what in fit))
    found = {"rows": rows, "fits": {str(size): fit for size, fit in fits.items()}, "machine": machine()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    draw(found).savefig(options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
