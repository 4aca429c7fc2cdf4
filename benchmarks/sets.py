"""Score and cost against what one would use otherwise, on five public sets with the built-in base.

`python -m benchmarks.sets --data FOLDER [--sets NAME ...]`. The large sets with at most 2,000 training, 500 validation
and 2,000 test rows and three seeds, learning rates of the baselines chosen on the first; the two small ones by
five-fold cross-validation over all their rows, a seed for each fold, rates chosen on the first fold, and half the rows
in a batch, so that five epochs hold enough steps. Runs are kept by the digest of their job, so a benchmark that is
stopped goes on where it was. `--keep-rates` takes the rates of the results that are there in place of a sweep.
"""

import argparse
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tsugiki.data.rows import Rows, Splits, read_splits
from tsugiki.data.split import folds, subsample, with_validation
from tsugiki.evaluate.compare import compare
from tsugiki.evaluate.comparison import Correct, differences
from tsugiki.evaluate.result import Result, read_results, write_results
from tsugiki.train.config import Config, read_config

RESULTS = Path(__file__).parent / "results"
RUNS = Path(__file__).parent / "runs"
METHODS = ("full", "lora", "probe-last", "probe-all", "tfidf", "tsugiki")
WHOLE = ("banking77", "clinc150", "goemotions_ekman")
FOLDED = ("faa_incident_type", "failure_mode")
NUM_FOLDS, NUM_SEEDS = 5, 3
MAX_ROWS, MAX_VALIDATION, MAX_TEST = 2_000, 500, 2_000


def config(name: str, seed: int) -> Config:
    """Of a set; alike for all methods."""
    settings = {"max_rows": MAX_ROWS, "batch_rows": 16 if name in FOLDED else 32, "seed": seed}
    # One precision on every machine.
    return read_config(None, {"precision": "fp32", "train": settings})


def parts(name: str, data: Path, max_test: int | None = MAX_TEST) -> Iterator[tuple[str, Splits]]:
    """(name, splits) of a set, with so many test rows at most: one, or one for each fold."""
    splits = read_splits(data / name)
    if name not in FOLDED:
        splits = with_validation(splits, share=0.15, seed=0)
        yield name, Splits(splits.train, _at_most(splits.validation, MAX_VALIDATION), _at_most(splits.test, max_test))
        return
    rows = _joined(splits)
    assert rows.labels is not None
    for number, (kept, held) in enumerate(folds(rows.labels, NUM_FOLDS, 0, groups=rows.texts)):
        # Validation is split off the rows that are trained on.
        yield f"{name} fold {number}", Splits(rows.take(kept), None, rows.take(held))


def _joined(splits: Splits) -> Rows:
    found = [rows for rows in (splits.train, splits.validation, splits.test) if rows is not None]
    texts = tuple(text for rows in found for text in rows.texts)
    return Rows(texts, tuple(label for rows in found for label in rows.labels or ()))


def _at_most(rows: Rows | None, number: int | None) -> Rows | None:
    if rows is None or rows.labels is None or number is None or len(rows) <= number:
        return rows
    return rows.take(subsample(rows.labels, number, 0))


def _rates(results: Iterable[Result]) -> dict[str, float]:
    """The learning rate of each method that has one."""
    return {row.method: row.learning_rate for row in results if row.learning_rate}


def main() -> None:
    """Run what is missing and write the results of each set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--sets", nargs="*", default=[*FOLDED, *WHOLE])
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--keep-rates", action="store_true")
    options = parser.parse_args()
    for name in options.sets:
        results: list[Result] = []
        correct: dict[str, list[Correct]] = {}
        kept = RESULTS / f"{name}.json"
        rates = _rates(read_results(kept)) if options.keep_rates and kept.exists() else {}
        for number, (part, splits) in enumerate(parts(name, options.data)):
            out = RUNS / part.replace(" ", "-")
            found = compare(
                splits,
                dataset=part,
                methods=options.methods,
                out=out,
                seeds=1 if name in FOLDED else NUM_SEEDS,
                config=config(name, number),
                rates=rates,
            )
            rates |= _rates(found.results)
            results += found.results
            for method, right in found.correct.items():
                correct.setdefault(method, []).append(right)
        RESULTS.mkdir(exist_ok=True)
        write_results(kept, results)
        # Over the rows of all folds at once.
        joined = differences(results, {method: np.concatenate(right, axis=1) for method, right in correct.items()})
        rows = [{"dataset": name, **difference.model_dump(mode="json")} for difference in joined]
        (RESULTS / f"{name}.differences.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
