"""Small rows that are easy but not free, and runs over them that take a second."""

import json
import random
from pathlib import Path
from typing import Any

from tests.support.bases import tokenizer
from tests.support.models import LAYERS, tiny
from tsugiki.adapt.form import FORMS
from tsugiki.adapt.reader import READERS
from tsugiki.base.model import Base, describe
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.data.rows import Rows, Splits
from tsugiki.placement.plan import Plan, head_states
from tsugiki.placement.strategies.top import Top
from tsugiki.tasks.kinds.classify import Classify
from tsugiki.train.config import Config, TrainSettings, read_config
from tsugiki.train.loop import Labelled
from tsugiki.train.track import Track

_TELLING = {"jam": ("belt", "stuck", "valve"), "loud": ("motor", "noise", "hot"), "wet": ("oil", "leak", "pump")}
_FILLING = ("the", "at", "a", "b", "c", "d", "e", "f", "g", "h")
LABELS = tuple(_TELLING)
TASK = Classify(labels=LABELS)
SETTINGS: dict[str, Any] = {
    "precision": "fp32",
    # The tiny tokenizer knows a few dozen words.
    "data.illegible": "warn",
    "placement.form": {"kind": "bottleneck", "rank": 4},
    "placement.sites": ["residual"],
    "train.epochs": 2,
    "train.batch_rows": 16,
    "train.learning_rate": 0.01,
}


# Any: tests need not rule out that there are no labels.
def easy_rows(n: int, seed: int = 0) -> Any:
    """Distinct texts whose label hangs on the words in them; classes in turn: `Rows`."""
    chance = random.Random(seed)
    rows: dict[str, str] = {}
    while len(rows) < n:
        label = LABELS[len(rows) % len(LABELS)]
        words = [*chance.sample(_TELLING[label], 2), *chance.choices(_FILLING, k=chance.randint(1, 6))]
        chance.shuffle(words)
        rows.setdefault(" ".join(words), label)
    return Rows(tuple(rows), tuple(rows.values()))


def easy_splits(train: int = 48, validation: int = 15) -> Any:
    """Rows for a whole run, `Splits`; one label of validation is wrong, or a perfect candidate would end the race."""
    rows = easy_rows(train + validation + 9)
    held = rows.take(range(train, train + validation))
    wrong = Rows(held.texts, (LABELS[(LABELS.index(held.labels[0]) + 1) % len(LABELS)], *held.labels[1:]))
    return Splits(rows.take(range(train)), wrong, rows.take(range(train + validation, len(rows))))


def quick_config(base: Path | str, **settings: Any) -> Config:
    """A run of a second; `placement__strategy="top"` stands for `placement.strategy`."""
    chosen = {key.replace("__", "."): value for key, value in settings.items()}
    return read_config(settings={"base": str(base), **SETTINGS, **chosen})


def quick_options(**settings: Any) -> list[str]:
    """The same run for the command line, as `--set KEY=VALUE`."""
    chosen = SETTINGS | {key.replace("__", "."): value for key, value in settings.items()}
    return [word for key, value in chosen.items() for word in ("--set", f"{key}={_toml(value)}")]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(part)}" for name, part in value.items()) + "}"
    return json.dumps(value)


def tiny_base(family: str = "bert", seed: int = 0) -> Base:
    """A tiny base in memory."""
    return describe(tiny(family, seed=seed), tokenizer(), name="tiny")


def labelled(base: Base, rows: Rows) -> Labelled:
    """Rows with all states of a tiny base on shelves."""
    return Labelled(
        PrefixCache(base, 32).rows(rows.texts, range(1, LAYERS + 1), LAYERS), TASK.targets(rows.labels or ()), TASK
    )


def track(folder: Path, base: Base | None = None, splits: Any = None, **settings: Any) -> Track:
    """A race over easy rows; settings are those of `train`."""
    base, splits = base or tiny_base(), splits or easy_splits()
    usual = {"epochs": 2, "batch_rows": 16, "learning_rate": 0.01, "head_learning_rate": 0.01}
    train, held = labelled(base, splits.train), labelled(base, splits.validation)
    return Track(base, train, held, TrainSettings(**{**usual, **settings}), folder)


def suffix_plan(base: Base, boundary: int = 2, form: str = "bottleneck", **fields: Any) -> Plan:
    """Modules on the residual stream from a boundary up to the end."""
    spec = FORMS.parse({"kind": form, "rank": 4, **fields}).model_dump(mode="json")
    return Top(boundary=boundary, sites=("residual",), form=spec).plans(base.anatomy)[0]


def readout_plan() -> Plan:
    """A readout over a tiny base."""
    return Plan("readout", head_states(LAYERS), READERS.parse({"kind": "readout"}))
