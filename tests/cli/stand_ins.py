"""What the commands call, without the minutes it takes."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from tsugiki.data.reading import Reading
from tsugiki.manifest import BaseFacts, DataFacts, HeadFacts, Manifest, Placement
from tsugiki.tasks.kinds.classify import Classify

CANDIDATES = (
    {"variant": "head", "score": 0.75, "train_s": 0.2, "predicted_s": 0.0, "num_trainable": 1000},
    {"variant": "suffix 4/6", "score": 0.8125, "train_s": 9.2, "predicted_s": 10.4, "num_trainable": 63052},
)


def manifest(**changes):
    facts: dict[str, Any] = {
        "name": "tickets",
        "tsugiki_version": "0.1.0",
        "task": {"kind": "classify", "labels": ["leak", "jam"], "max_length": 256},
        "base": BaseFacts(
            name="tiny", architecture="Tiny", num_layers=6, width=32, layer_digests=("a",) * 7, tokenizer_digest="t"
        ),
        "placement": Placement(boundary=6, exit=6),
        "head": HeadFacts(states=(6,)),
        "variant": "suffix 4/6",
        "training": {},
        "data": DataFacts(rows_digest="d", num_train=420, num_validation=80, class_counts={"leak": 20, "jam": 22}),
        "metrics": {"validation_score": 0.8125},
        "candidates": CANDIDATES,
        "licence": "MIT",
    }
    return Manifest(**facts | changes)


@dataclass(frozen=True)
class Prediction:
    label: str
    probability: float
    needs_review: bool = False

    def to_dict(self):
        return {"label": self.label, "probability": self.probability, "needs_review": self.needs_review}


class Adapter:
    """Answers `leak` where there is oil, and keeps how many texts came together."""

    task = Classify(labels=("leak", "jam"))
    labels = task.labels
    manifest = manifest()
    reading = Reading()

    def __init__(self):
        self.calls = []

    def predict(self, texts, target_precision=None):
        self.asked = target_precision
        self.calls.append(len(texts))
        return [Prediction("leak" if "oil" in text.lower() else "jam", 0.75) for text in texts]

    def scores(self, texts):
        return np.array([[1.0, 0.0] if "oil" in text.lower() else [0.0, 1.0] for text in texts])


def trained():
    return SimpleNamespace(
        adapter=Adapter(),
        candidates=[SimpleNamespace(facts=lambda facts=facts: facts, routing=None) for facts in CANDIDATES],
        seconds={"cache": 2.0, "head": 0.2, "suffix 4/6": 9.2, "total": 11.4},
        verdict="Grafting pays here.",
        predicted_s=10.4,
        measured_s=9.2,
        saved_s=3.0,
    )


def comparison():
    difference = SimpleNamespace(model_dump=lambda mode: {"method": "tsugiki", "against": "full"})
    return SimpleNamespace(
        rows=[{"method": "full"}], differences=[difference], verdicts=["full is best."], table=lambda: "the table"
    )
