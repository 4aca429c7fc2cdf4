"""Few rows: ours as it comes, beside a probe, LoRA and TF-IDF; and how much better each does on rows it learnt from.

`python -m benchmarks.few --data FOLDER --out FILE`. 32, 64 and 128 rows of a set, three draws each, of which every
method has the same to learn from and the same to choose by (ours, with as few as 64, learns from both); at most 1,000
test rows. Sets with fewer than two rows for each class are left out at that size. The baselines take ten passes in
batches of eight, since five in batches of 32 are five steps, and LoRA's rate is chosen on the first draw of each set
and size. The means are over sets; their interval is that of 2,000 resamples of whole sets and draws. Runs are kept by
the digest of their job.
"""

import argparse
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.sets import RUNS, parts
from tsugiki.data.rows import Rows, Splits
from tsugiki.data.split import subsample, with_validation
from tsugiki.evaluate.compare import compare
from tsugiki.evaluate.comparison import Comparison
from tsugiki.train.config import Config, read_config

SETS = ("snips", "goemotions_ekman", "faa_incident_type", "dbpedia14", "failure_mode")
ROWS, DRAWS, MOST_TEST = (32, 64, 128), 3, 1_000
BASELINES, EPOCHS, BATCH = ("probe-all", "lora", "tfidf"), 10, 8
RESAMPLES, LEVEL = 2_000, 0.95
Row = dict[str, Any]


def config(seed: int, **train: int) -> Config:
    """Of one draw."""
    return read_config(None, {"precision": "fp32", "train": {"seed": seed, **train}})


def of_set(name: str, data: Path) -> Iterator[Row]:
    """All sizes and draws of a set."""
    _, splits = next(parts(name, data, max_test=MOST_TEST))
    assert splits.train is not None and splits.test is not None
    for size in ROWS:
        if size < 2 * len(splits.train.classes):
            continue
        rates: dict[str, float] = {}
        for seed in range(DRAWS):
            drawn = splits.train.take(subsample(splits.train.strata, size, seed))
            few = with_validation(Splits(drawn, None, None), share=0.15, seed=seed)
            assert few.train is not None
            # The rows that were learnt from are asked as well, behind the others.
            own = Splits(few.train, few.validation, _behind(splits.test, few.train))
            out = RUNS / f"few-{name}-{size}-{seed}"
            known = compare(
                own,
                dataset=name,
                methods=BASELINES,
                out=out,
                seeds=1,
                config=config(seed, epochs=EPOCHS, batch_rows=BATCH),
                rates=rates,
            )
            rates |= {row.method: row.learning_rate for row in known.results if row.learning_rate}
            ours = compare(own, dataset=name, methods=("tsugiki",), out=out, seeds=1, config=config(seed))
            for found in (known, ours):
                for row in _measured(found, len(splits.test)):
                    yield {"set": name, "rows": size, "draw": seed, **row}


def _behind(test: Rows, learnt: Rows) -> Rows:
    assert test.labels is not None and learnt.labels is not None
    return Rows((*test.texts, *learnt.texts), (*test.labels, *learnt.labels))


def _measured(found: Comparison, num_test: int) -> Iterator[Row]:
    for method, right in found.correct.items():
        (own,) = [row for row in found.results if row.won and row.method == method]
        test, learnt = float(right[0, :num_test].mean()), float(right[0, num_test:].mean())
        told = {"variant": own.variant, "learning_rate": own.learning_rate, "train_s": own.train_s}
        yield {"method": method, "test": test, "learnt": learnt, **told}


def differences(rows: list[Row], method: str) -> dict[str, float]:
    """Ours less another on the mean over sets, and its gap less that one's, in points."""
    own = {(r["set"], r["rows"], r["draw"]): r for r in rows if r["method"] == "tsugiki"}
    other = {(r["set"], r["rows"], r["draw"]): r for r in rows if r["method"] == method}
    found: dict[str, float] = {}
    for what, value in (("score", _test), ("gap", _gap)):
        points = {key: 100 * (value(own[key]) - value(other[key])) for key in own}
        groups = sorted({(key[0], key[2]) for key in points})
        by_group = np.array([np.mean([points[k] for k in points if (k[0], k[2]) == group]) for group in groups])
        drawn = np.random.default_rng(0).integers(len(groups), size=(RESAMPLES, len(groups)))
        low, high = np.quantile(by_group[drawn].mean(1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        found |= {what: float(by_group.mean()), f"{what}_low": float(low), f"{what}_high": float(high)}
    return found


def _test(row: Row) -> float:
    return float(row["test"])


def _gap(row: Row) -> float:
    return float(row["learnt"] - row["test"])


def main() -> None:
    """Measure what is missing and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = [row for name in options.sets for row in of_set(name, options.data)]
    methods = (*BASELINES, "tsugiki")
    for size in ROWS:
        for method in methods:
            own = [r for r in rows if (r["rows"], r["method"]) == (size, method)]
            test, gap = (100 * float(np.mean([value(r) for r in own])) for value in (_test, _gap))
            print(f"{size:4} rows {method:10} {test:5.1f}, {gap:5.1f} better on rows learnt from")
    against = {method: differences(rows, method) for method in BASELINES}
    print(json.dumps(against, indent=1))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    results = {"rows": rows, "against": against, "machine": machine()}
    options.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
