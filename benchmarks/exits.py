"""How much faster an answer is where an exit is allowed and one point may be given up.

`python -m benchmarks.exits --data FOLDER --out FILE`. Each set is trained as it comes, and then with a validation score
one point below that as enough (`--set budget.min_score`). Answers from text to scores, one at a time and 32 at once,
beside the base that is run whole on the same texts; all take turns, many rounds, and means are compared, since the time
of an answer depends on its input. Only these are on the clock. Packages are kept.
"""

import argparse
import json
import logging
import os
import tempfile
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

import torch

from benchmarks.machine import machine
from benchmarks.serving import milliseconds
from benchmarks.sets import FOLDED, RUNS, WHOLE, config, parts
from tsugiki.base.model import load_base
from tsugiki.base.tokens import encode, pad
from tsugiki.data.rows import Rows, Splits
from tsugiki.evaluate.run import evaluate
from tsugiki.placement.budget import Budget
from tsugiki.tasks.adapter import Adapter
from tsugiki.train.config import Config
from tsugiki.train.run import train_adapter

SETS = (*WHOLE, *FOLDED, "snips")
GIVEN_UP, MOST_TOKENS = 0.01, 256
# Calls on the clock by rows in a batch: of one row many, since each takes another time.
ROUNDS = {1: 400, 32: 40}


def kept(name: str, what: str, splits: Splits, chosen: Config) -> Adapter:
    """An adapter that was trained before, or is now."""
    folder = RUNS / f"exits-{name}-{what}"
    if not (folder / "adapter.json").exists():
        found = train_adapter(splits, chosen)
        found.adapter.save(folder)
        found.adapter.close()
    return Adapter.load(folder, precision="fp32")


def of_set(name: str, data: Path) -> dict[str, Any]:
    """Scores and milliseconds of both adapters and of the base."""
    _, splits = next(parts(name, data, max_test=1_000))
    assert splits.test is not None
    usual = config(name, 0)
    best = kept(name, "best", splits, usual)
    wanted = best.manifest.metrics["validation_score"] - GIVEN_UP
    allowed = usual.model_copy(update={"budget": Budget(min_score=wanted)})
    fast = kept(name, "fast", splits, allowed)
    whole = load_base(None, precision="fp32")

    @torch.inference_mode()
    def bare(texts: tuple[str, ...]) -> None:
        ids, mask = pad(encode(whole, texts, MOST_TOKENS))
        whole.model(input_ids=ids, attention_mask=None if bool(mask.all()) else mask)

    found: dict[str, Any] = {"set": name, "wanted": wanted}
    for what, adapter in (("best", best), ("fast", fast)):
        told = adapter.manifest
        found[what] = {
            "variant": told.variant,
            "exit": told.placement.exit,
            "by_words": _by_words(adapter, splits.test),
            "validation": told.metrics["validation_score"],
            "test": evaluate(adapter, splits.test).score,
        }
    for size in (1, 32):
        texts = splits.test.texts
        batches = [(texts[at : at + size],) for at in range(0, len(texts) - size + 1, size)]
        ways: dict[str, Any] = {"base": bare, "best": best.scores, "fast": fast.scores}
        times = milliseconds(ways, batches, ROUNDS[size], fmean)
        found[f"ms_{size}"] = times
        found[f"times_faster_{size}"] = times["base"] / times["fast"]
    print(json.dumps(found), flush=True)
    return found


def _by_words(adapter: Adapter, rows: Rows) -> float:
    """Share of rows for which no layer is run."""
    if not adapter.manifest.placement.exit:
        return 1.0
    answering = adapter._answering
    sure = answering.sure(answering.words(rows.texts))
    return 0.0 if sure is None else float(sure.float().mean())


def main() -> None:
    """Train what is missing, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as home:
        os.environ["TSUGIKI_HOME"] = home
        found = [of_set(name, options.data) for name in options.sets]
    for size in (1, 32):
        print(f"batch {size}: {fmean(one[f'times_faster_{size}'] for one in found):.2f} times faster than the base")
        print(f"geometric mean {geometric_mean([one[f'times_faster_{size}'] for one in found]):.2f}")
    print(f"test points against the best: {100 * fmean(o['fast']['test'] - o['best']['test'] for o in found):+.1f}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"sets": found, "machine": machine()}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
