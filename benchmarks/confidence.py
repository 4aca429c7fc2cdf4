"""Whether answers that go unseen are as often right as was asked for, and whether probabilities mean what they say.

`python -m benchmarks.confidence --data FOLDER --out FILE`. The sets of `benchmarks.sets` with their training and
validation rows, one seed, and all their test rows; of folded sets the answers to all folds together.
"""

import argparse
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import machine
from benchmarks.sets import FOLDED, WHOLE, config, parts
from tsugiki.evaluate.metrics import calibration_error, share_interval
from tsugiki.train.run import train_adapter

WANTED = (0.90, 0.95)


def answers(name: str, data: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Of all test rows: confidence, whether it is right, and by wanted precision whether it goes unseen."""
    found: dict[str, list[Any]] = {"stated": [], "right": [], **{str(wanted): [] for wanted in WANTED}}
    for number, (_, splits) in enumerate(parts(name, data, max_test=None)):
        adapter = train_adapter(splits, config(name, number)).adapter
        test, review = splits.test, adapter.manifest.review
        assert test is not None and test.labels is not None and review is not None
        said = adapter.task.answers(torch.from_numpy(adapter.scores(test.texts)))
        stated = said.probability.double().numpy()
        found["stated"].extend(stated)
        found["right"].extend(adapter.task.match(said.best, adapter.task.targets(test.labels)) == 1)
        for wanted in WANTED:
            found[str(wanted)].extend(stated >= review.rule(wanted).threshold - 1e-6)
        adapter.close()
    return {key: np.asarray(values) for key, values in found.items()}


def main() -> None:
    """Measure and write a row for each set and wanted precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--sets", nargs="*", default=[*FOLDED, *WHOLE])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["TSUGIKI_HOME"] = home
        for name in options.sets:
            found = answers(name, options.data)
            error = calibration_error(found["stated"], found["right"])
            for wanted in WANTED:
                used = found[str(wanted)].astype(bool)
                right = int(found["right"][used].sum())
                low, high = share_interval(right, int(used.sum()))
                precision = right / used.sum() if used.any() else math.nan
                rows.append(
                    {
                        "dataset": name,
                        "method": "tsugiki",
                        "test_rows": len(used),
                        "accuracy": float(found["right"].mean()),
                        "calibration_error": error,
                        "target_precision": wanted,
                        "automatic_share": float(used.mean()),
                        "automatic_precision": None if math.isnan(precision) else precision,
                        "low": low,
                        "high": high,
                        "reached": bool(high >= wanted),
                        "machine": machine(),
                    }
                )
                told = f"{100 * used.mean():5.1f} % unseen, {100 * precision:5.1f} % right [{low:.3f}, {high:.3f}]"
                print(f"{name:20} ECE {error:.3f}, wanted {wanted:.2f}: {told}", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
