"""Adapters that were trained apart, and inputs that name none: who answers, and what that costs the score.

`python -m benchmarks.routing --data FOLDER --out FILE`. Four unrelated sets train an adapter each, on at most 2,000
rows as `tsugiki train` would, and are composed without a row. Test rows (at most 2,000 a set) are routed and answered,
and once more by the adapter that is theirs, the oracle. Four other sets are foreign; nothing was tuned on them. `auroc`
and `at_1_percent` (share of foreign rows that go to nobody where one percent of known ones do) are those of the best
score over all adapters. Adapters are kept.
"""

import argparse
import gzip
import json
import logging
import os
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.machine import machine
from benchmarks.sets import MAX_TEST, RUNS, config, parts
from tsugiki.base.model import Base
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.composed.adapters import Composed
from tsugiki.composed.folder import SHARE, compose
from tsugiki.train.run import train_adapter

KNOWN = ("banking77", "snips", "failure_mode", "faa_incident_type")
FOREIGN = ("clinc150", "goemotions_ekman", "dbpedia14", "maintie")


def trained(name: str, data: Path) -> Path:
    """The adapter of a set, trained once."""
    folder = RUNS / "routing" / name
    if not (folder / "adapter.json").exists():
        _, splits = next(parts(name, data))
        found = train_adapter(splits, config(name, 0))
        found.adapter.save(folder)
        found.adapter.close()
    return folder


def foreign_texts(name: str, data: Path) -> list[str]:
    """Test inputs of a set, whatever its task."""
    with gzip.open(data / name / "test.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][:MAX_TEST]
    return [row["text"] if "text" in row else row["source"] for row in rows]


def best_scores(composed: Composed, base: Base, texts: list[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How far above its floor the adapter stands that knows a text best."""
    state = composed.set.composition.state
    pooled = PrefixCache(base, 256).rows(texts, (), state).pooled[:, state]
    floors = torch.tensor([floor.density for floor in composed.recogniser.floors])
    return (composed.recogniser.densities(pooled) - floors).max(1).values.double().numpy()


def known(composed: Composed, name: str, data: Path) -> dict[str, float]:
    """Routes and scores of a set that has an adapter."""
    _, splits = next(parts(name, data))
    assert splits.test is not None and splits.test.labels is not None
    texts, labels = list(splits.test.texts), splits.test.labels
    routed, oracle = composed.predict(texts), composed.run_many(texts, [name])[name]
    right = fmean(answer.adapter == name for answer in routed)
    nobody = fmean(answer.adapter is None for answer in routed)
    scores = [
        fmean(answer.label == label for answer, label in zip(found, labels, strict=True)) for found in (routed, oracle)
    ]
    lost = fmean(
        own.label == label and answer.label != label and answer.adapter is not None
        for answer, own, label in zip(routed, oracle, labels, strict=True)
    )
    told = {"right": right, "nobody": nobody, "wrong": 1 - right - nobody, "lost_by_wrong": lost}
    return {"rows": len(texts), **told, "score": scores[0], "oracle": scores[1]}


def main() -> None:
    """Train what is missing, route, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as home:
        os.environ["TSUGIKI_HOME"] = home
        folders = [trained(name, options.data) for name in KNOWN]
        composed = Composed.on_base(compose(folders, name="routing"), precision="fp32")
        own = {name: known(composed, name, options.data) for name in KNOWN}
        others = {name: foreign_texts(name, options.data) for name in FOREIGN}
        nobody = {name: fmean(not route for route in composed.routes(texts)) for name, texts in others.items()}
        inside = np.concatenate([best_scores(composed, composed.base, _test(name, options.data)) for name in KNOWN])
        floor = np.quantile(inside, 0.01)
        foreign: dict[str, Any] = {}
        for name, texts in others.items():
            outside = best_scores(composed, composed.base, texts)
            truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
            area = float(roc_auc_score(truth, np.r_[inside, outside]))
            far = float((outside < floor).mean())
            foreign[name] = {"rows": len(texts), "nobody": nobody[name], "auroc": area, "at_1_percent": far}
    of_foreign = ("nobody", "auroc", "at_1_percent")
    told = {
        "of_oracle": fmean(one["score"] / one["oracle"] for one in own.values()),
        "lost_by_wrong": fmean(one["lost_by_wrong"] for one in own.values()),
        "nobody_of_own": fmean(one["nobody"] for one in own.values()),
        **{f"foreign_{what}": fmean(one[what] for one in foreign.values()) for what in of_foreign},
    }
    print(json.dumps({"known": own, "foreign": foreign, "summary": told}, indent=1))
    floors = [floor.model_dump() for floor in composed.recogniser.floors]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    results = {"share": SHARE, "floors": floors, "known": own, "foreign": foreign, "summary": told}
    options.out.write_text(json.dumps(results | {"machine": machine()}, indent=1), encoding="utf-8")


def _test(name: str, data: Path) -> list[str]:
    _, splits = next(parts(name, data))
    assert splits.test is not None
    return list(splits.test.texts)


if __name__ == "__main__":
    main()
