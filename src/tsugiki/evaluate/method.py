"""The contract of a method of comparison, and what it is given and gives back.

A method is one file in `methods/`; the command line spells its name with `-` for `_`. What all methods share is in the
job: rows, seed, precision, batch rule. What is a method's own is in its fields.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BeforeValidator, NonNegativeInt, PositiveFloat, PositiveInt, SerializeAsAny

from tsugiki.base.model import Base, load_base
from tsugiki.base.tokens import MAX_LENGTH
from tsugiki.data.rows import Rows
from tsugiki.errors import ConfigError, MissingError, place_of
from tsugiki.family import Family
from tsugiki.spec import Spec
from tsugiki.tasks.task import Task, task_of
from tsugiki.train.calibration import temperature_of

EPOCHS = 5
"""Passes of methods but ours, where nothing else is said."""

Logits = NDArray[np.float32]
Predict = Callable[[Rows], Logits]
"""From rows to logits (N, C), in the order of the labels of a job; labels of the rows are not looked at."""


def _task(facts: object) -> object:
    return task_of(facts) if isinstance(facts, Mapping) else facts


class Job(Spec):
    """One method on one seed: everything that decides what comes of it.

    Args:
        dataset: what the rows are called.
        method: `{kind, ...}`.
        train: rows to learn from, labelled.
        validation: rows to choose by, labelled.
        test: rows to report on, labelled.
        task: what is answered; its labels are those of `train`, in the order of all logits (C).
        base: folder or hub name of the base; None is the built-in encoder.
        precision: of all matrix products.
        max_length: tokens per row; the rest is cut.
        batch_tokens: tokens per batch, padding included.
        batch_rows: rows per batch at most.
        epochs: passes over the training rows at most.
        seed: of everything that is random.
        target_precision: that answers shall have which no person looks at (0..1).
        learning_rate: at its peak; None where the method has none to choose.
    """

    dataset: str
    method: dict[str, Any]
    train: Rows
    validation: Rows
    test: Rows
    task: Annotated[SerializeAsAny[Task], BeforeValidator(_task)]
    base: str | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    max_length: PositiveInt = MAX_LENGTH
    batch_tokens: PositiveInt = 1024
    batch_rows: PositiveInt = 32
    epochs: PositiveInt = EPOCHS
    seed: NonNegativeInt = 0
    target_precision: float = 0.95
    learning_rate: PositiveFloat | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The precision as torch calls it."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of all logits, C of them."""
        return self.task.labels

    @property
    def targets(self) -> torch.Tensor:
        """What is to be answered to the training rows."""
        return self.task.targets(self.train.labels or ())

    def validation_score(self, predict: Predict) -> float:
        """Score on validation (0..1)."""
        logits = torch.from_numpy(predict(self.validation))
        targets = self.task.targets(self.validation.labels or ())
        # Margins are of no scale, and the median of grades depends on it.
        return self.task.measure(logits / temperature_of(self.task, logits, targets), targets)[0]

    def facts(self) -> dict[str, Any]:
        """The job for people: digests and numbers in the place of rows."""
        names = ("train", "validation", "test")
        splits: dict[str, Rows] = {name: getattr(self, name) for name in names}
        shown = {name: {"digest": rows.digest(), "num_rows": len(rows)} for name, rows in splits.items()}
        return {**self.model_dump(mode="json", exclude=set(names)), **shown}


@dataclass(frozen=True)
class Outcome:
    """What a method brought on one job.

    Args:
        variant: what it is, where a method chooses among several, such as `suffix 4/6`; else the setting it chose.
        curve: (seconds of training, best score on validation so far (0..1)); validation passes are not counted.
        num_trainable: trained parameters.
        train_s: seconds of training, of everything that was tried on the way to this outcome.
        cache_s: seconds of these that went into states which later passes read.
        predict: answers rows.
        save: writes what is to be shipped into a folder.
        candidates: what else was tried and is worth a row of its own.
    """

    variant: str
    curve: tuple[tuple[float, float], ...]
    num_trainable: int
    train_s: float
    cache_s: float
    predict: Predict
    save: Callable[[Path], None]
    candidates: tuple["Outcome", ...] = ()


class Method(Spec):
    """Learns from a job and can be served from what it saved.

    `rates` are the learning rates to choose from on the first seed; empty where there is none to choose. `drawn` says
    whether the seed has a say in what is learnt; where it has none, one run stands for all seeds.
    """

    kind: str
    rates: ClassVar[tuple[float, ...]] = ()
    drawn: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """As the command line and the tables call it."""
        return self.kind.replace("_", "-")

    def open_base(self, job: Job) -> Base | None:
        """The base as `fit` loads it; None where none is needed."""
        return load_base(job.base, precision=job.precision)

    def require(self, job: Job) -> None:
        """Refuse a job that it cannot do; all methods of a comparison are asked before any of them trains."""

    def fit(self, job: Job) -> Outcome:
        """Learn from `job.train`, choose on `job.validation`, never look at `job.test`."""
        raise NotImplementedError(type(self).__name__)

    def load(self, folder: Path, job: Job) -> Predict:
        """What `Outcome.save` wrote, ready to answer; no more of the base is loaded than that needs."""
        raise NotImplementedError(type(self).__name__)


METHODS: Family[Method] = Family("tsugiki.evaluate.methods", Method)


def parse_methods(names: Iterable[str], own: Mapping[str, Mapping[str, Any]] | None = None) -> list[Method]:
    """Methods by the names of the command line, each once.

    Args:
        names: such as `full`, `probe-last`, `probe` for both probes, or `peft:CONFIG.json`.
        own: settings of a method's own by its kind, such as `{"tsugiki": {"config": ...}}`.

    Raises:
        ConfigError: no method, no such method, its settings are wrong, or two have the same name.
        MissingError: the file of a `peft:` method is not there.
    """
    spelled = [name for given in names for name in (("probe-last", "probe-all") if given == "probe" else (given,))]
    found = [METHODS.parse(_spec(name, own or {})) for name in spelled]
    named: dict[str, Method] = {}
    for method in found:
        if named.setdefault(method.name, method) != method:
            raise ConfigError("evaluate.same_name", name=method.name)
    if not named:
        raise ConfigError("evaluate.no_methods", allowed=", ".join(sorted(METHODS.names())).replace("_", "-"))
    return list(named.values())


def _spec(name: str, own: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    kind, _, path = name.partition(":")
    kind = kind.replace("-", "_")
    if kind != "peft":
        return {"kind": kind if not path else name, **own.get(kind, {})}
    file = Path(path).expanduser()
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingError("evaluate.no_peft_config", path=path or "-") from error
    except ValueError as error:
        raise ConfigError("evaluate.peft_config", path=path, reason=place_of(error)) from error
    return {"kind": "peft", "title": file.stem, "config": config}
