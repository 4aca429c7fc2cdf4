"""Whether advice comes true: bands of expected scores against what training on twice the rows really comes to.

`python -m benchmarks.advice --data FOLDER --out FILE`. Five sets with 1,000 test rows or more and the built-in base.
A case draws N rows, goes on from their learning curve as `tsugiki advise` does, and is compared with the same words and
head trained on 2 N other rows of the set and asked 2,000 test rows; the band of 80 % takes in that these are so many
and no more. Cases of one set share its rows, so they are not independent of each other.
"""

import argparse
import json
import logging
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.sets import parts
from tsugiki.advise.advice import WIDER
from tsugiki.advise.curve import Bench
from tsugiki.advise.law import Law
from tsugiki.base.model import load_base
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.data.rows import Rows
from tsugiki.data.split import subsample
from tsugiki.train.config import read_config

SETS = ("banking77", "clinc150", "goemotions_ekman", "snips", "dbpedia14")
SIZES, CASES = (128, 256, 512), 7
MOST_TRAIN, MOST_TOKENS = 4_000, 256
WANTED, LEVEL = 0.02, 0.8


def bench_of(name: str, data: Path) -> tuple[Bench, range, range]:
    """Training and test rows of a set under one bench, and which are which."""
    _, splits = next(parts(name, data))
    assert splits.train is not None and splits.test is not None
    train = splits.train.take(subsample(splits.train.strata, MOST_TRAIN, 0))
    rows = Rows((*train.texts, *splits.test.texts), (*(train.labels or ()), *(splits.test.labels or ())))
    config = read_config(None, {"precision": "fp32"})
    base = load_base(None, precision="fp32")
    cached = PrefixCache(base, MOST_TOKENS, config.cache).rows(rows.texts, (), base.num_layers)
    return Bench(rows, cached, config), range(len(train)), range(len(train), len(rows))


def case(bench: Bench, train: range, test: range, size: int, seed: int) -> dict[str, Any] | None:
    """What was foretold from so many rows, and what came with twice as many."""
    strata = bench.rows.take(train).strata
    drawn = subsample(strata, size, seed)
    own = Bench(bench.rows.take(drawn), bench.cached.take(drawn), bench.config)
    curve = own.curve()
    came = bench.draw(subsample(strata, 2 * size, 1_000 + seed), seed, asked=test)
    if not curve.draws or came is None:
        return None
    found: dict[str, Any] = {"rows": size, "seed": seed, "asked": curve.asked}
    for what, points, share, wider in (
        ("score", curve.scores(), came.score, 1.0),
        ("automatic", curve.automatic(), came.automatic, WIDER),
    ):
        band = Law.fit(points, curve.asked).at(2 * size, LEVEL, held=len(test), wider=wider)
        inside = bool(band.low <= share <= band.high)
        told = {"expected": band.middle, "low": band.low, "high": band.high, "came": share, "inside": inside}
        found[what] = told | {"points": [asdict(point) for point in points]}
    return found


def summary(cases: list[dict[str, Any]]) -> dict[str, float]:
    """Shares over some cases."""
    score, automatic = ([c[what] for c in cases] for what in ("score", "automatic"))
    far = np.array([abs(c["expected"] - c["came"]) for c in score])
    return {
        "cases": len(cases),
        "within_2_points": float((far <= WANTED).mean()),
        "median_points_off": 100 * float(np.median(far)),
        "inside": float(np.mean([c["inside"] for c in score])),
        "median_band_points": 100 * float(np.median([c["high"] - c["low"] for c in score])),
        "automatic_points_off": 100 * float(np.median([abs(c["expected"] - c["came"]) for c in automatic])),
        "automatic_inside": float(np.mean([c["inside"] for c in automatic])),
    }


def main() -> None:
    """Measure all cases and write them with their summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["TSUGIKI_HOME"] = home
        for name in options.sets:
            bench, train, test = bench_of(name, options.data)
            for size in SIZES:
                if 2 * size > len(train):
                    continue
                tried = (case(bench, train, test, size, seed) for seed in range(options.cases))
                own = [{"dataset": name, **one} for one in tried if one is not None]
                found += own
                if own:
                    told = summary(own)
                    print(name, size, {key: round(value, 2) for key, value in told.items()}, flush=True)
    result = {
        "all": summary(found),
        "by_rows": {size: summary([c for c in found if c["rows"] == size]) for size in SIZES},
        "by_set": {name: summary([c for c in found if c["dataset"] == name]) for name in options.sets},
        "machine": machine(),
        "cases": found,
    }
    print(json.dumps(result["all"]))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
