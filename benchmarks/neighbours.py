"""Adapters whose inputs are near to each other: does what packages carry find the right one as well as a router that
was trained to?

`python -m benchmarks.neighbours --data FOLDER --models FOLDER --out FILE`. Domains of one set, each as if it had an
adapter of its own: CLINC150 (ten, see `benchmarks.domains`) on the built-in base, three companies of maintnorm and
twelve services of sgd_response on stories3M; at most 4,000 training rows, 1,000 of validation, 2,000 of test. Share of
test rows that find their domain: by densities from each domain's own rows alone; by these and a correction learnt from
100 or all validation rows; by logistic regression on the same states, which sees all domains at once, its strength
chosen on validation. States half-way up, as sets of adapters take them. Nothing is trained in steps, nothing is timed.
"""

import argparse
import gzip
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.domains import ROWS, rows_of
from benchmarks.machine import machine
from tsugiki.adapt.familiarity import Familiarity
from tsugiki.adapt.recogniser import statistics_at
from tsugiki.adapt.statistics import projection, statistics_of
from tsugiki.base.model import Base, load_base
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.composed.refining import refine
from tsugiki.data.rows import Rows, Splits
from tsugiki.data.split import subsample

STRENGTHS, FEW, MOST_TOKENS = (0.01, 0.03, 0.1, 0.3, 1.0), 100, 256


def written(data: Path, name: str) -> Splits:
    """A set of sources and targets with the domains that it names."""
    found = {}
    for split, most in ROWS.items():
        with gzip.open(data / name / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        whole = Rows(tuple(row["source"] for row in rows), tuple(row["domain"] for row in rows))
        few = whole.take(subsample(whole.strata, most, 0))
        found[split] = Rows(few.texts, few.labels, domains=few.labels)
    return Splits(**found)


def of_set(base: Base, splits: Splits, classes: bool) -> dict[str, Any]:
    """Shares of test rows that find their domain."""
    parts: Mapping[str, Rows | None] = vars(splits)
    names = sorted({domain for domain in (splits.train and splits.train.domains) or () if domain})
    state = max(1, round(base.num_layers / 2))
    pooled, owner, labels = {}, {}, {}
    for split, rows in parts.items():
        assert rows is not None and rows.domains is not None and rows.labels is not None
        own = rows.take(at for at, domain in enumerate(rows.domains) if domain in names)
        pooled[split] = PrefixCache(base, MOST_TOKENS).rows(own.texts, (), state).pooled.float()
        owner[split] = torch.tensor([names.index(domain) for domain in own.domains or ()])
        labels[split] = own.labels or ()
    familiar = []
    for number in range(len(names)):
        of, held = owner["train"] == number, owner["validation"] == number
        given = [label for label, own in zip(labels["train"], of.tolist(), strict=True) if own] if classes else [""]
        known = sorted(set(given))
        indicator = torch.zeros(int(of.sum()), len(known))
        indicator[range(len(indicator)), [known.index(label) for label in given] if classes else 0] = 1
        tensors = statistics_of(base.digest, pooled["train"][of], indicator, pooled["validation"][held], [state])
        familiar.append(Familiarity.of(statistics_at(tensors, state)))
    project = projection(base.digest, base.width)
    seen = {split: states[:, state] @ project for split, states in pooled.items()}
    densities = {split: torch.stack([one.log_density(z) for one in familiar], 1) for split, z in seen.items()}

    def share(taught_by: Tensor | None) -> float:
        found = densities["test"]
        if taught_by is not None:
            near, states, owners = (values["validation"][taught_by] for values in (densities, seen, owner))
            correction = refine(near, states, owners).correction
            found = found if correction is None else found + correction.of(seen["test"])
        return float((found.argmax(1) == owner["test"]).float().mean())

    order = torch.from_numpy(np.random.default_rng(0).permutation(len(owner["validation"])))
    taught = {f"refined_{FEW}": order[:FEW], "refined": order}
    x, y = ({split: values[split].numpy() for split in parts} for values in (_at(pooled, state), owner))
    tried = [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500)).fit(x["train"], y["train"])
        for c in STRENGTHS
    ]
    trained = max(tried, key=lambda model: float(model.score(x["validation"], y["validation"])))
    found = {"densities": share(None), **{name: share(rows) for name, rows in taught.items()}}
    counts = {"domains": len(names), "rows": len(owner["test"]), "validation": len(order)}
    return {**counts, **found, "trained": float(trained.score(x["test"], y["test"]))}


def _at(pooled: Mapping[str, Tensor], state: int) -> dict[str, Tensor]:
    return {split: states[:, state] for split, states in pooled.items()}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TSUGIKI_DATA", "data")))
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    found: dict[str, Any] = {"clinc150": of_set(load_base(None, precision="fp32"), rows_of(options.data), classes=True)}
    stories = load_base(str(options.models / "stories3M"), precision="fp32")
    for name in ("maintnorm", "sgd_response"):
        found[name] = of_set(stories, written(options.data, name), classes=False)
    print(json.dumps(found, indent=1))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found | {"machine": machine()}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
