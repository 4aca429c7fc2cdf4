"""Specialise a frozen language model with small sparse adapters, and see whether it was worth it.

    adapter = tsugiki.train("tickets.csv")
    adapter.predict(["Oil drips from cylinder 3"])

Nothing is imported before it is used, so `import tsugiki` costs nothing.
"""

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tsugiki.api import (
        ablate,
        advise,
        attach,
        audit,
        compare,
        evaluate,
        explain,
        graft,
        load,
        plan,
        receipt,
        train,
    )
    from tsugiki.data.rows import read_splits
    from tsugiki.errors import TsugikiError
    from tsugiki.estimator import TsugikiClassifier
    from tsugiki.evaluate.run import Evaluation
    from tsugiki.sets import compose, evaluate_set, load_set
    from tsugiki.tasks.adapter import Adapter
    from tsugiki.writers import evaluate_writer, load_writer, train_writer
    from tsugiki.writing.sampling import Sampling

    __version__: str

__all__ = [
    "Adapter",
    "Sampling",
    "TsugikiClassifier",
    "TsugikiError",
    "__version__",
    "ablate",
    "advise",
    "attach",
    "audit",
    "compare",
    "compose",
    "evaluate",
    "evaluate_set",
    "evaluate_writer",
    "explain",
    "graft",
    "load",
    "load_set",
    "load_writer",
    "plan",
    "read_splits",
    "receipt",
    "train",
    "train_writer",
]

# What the libraries below would tell others of their use; whoever wants that sets the variable to something else.
_SILENT = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # mlflow takes `DO_NOT_TRACK` for a wish only where it is spelled `true`
}
for _variable, _value in _SILENT.items():
    os.environ.setdefault(_variable, _value)
if (_hub := sys.modules.get("huggingface_hub.constants")) and os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1":
    _hub.HF_HUB_DISABLE_TELEMETRY = True  # type: ignore[attr-defined]  # it was imported before, and has read them

_HOMES = {
    "Adapter": "tsugiki.tasks.adapter",
    "Sampling": "tsugiki.writing.sampling",
    "TsugikiClassifier": "tsugiki.estimator",
    "TsugikiError": "tsugiki.errors",
    "ablate": "tsugiki.api",
    "advise": "tsugiki.api",
    "attach": "tsugiki.api",
    "compare": "tsugiki.api",
    "compose": "tsugiki.sets",
    "audit": "tsugiki.api",
    "evaluate_set": "tsugiki.sets",
    "evaluate_writer": "tsugiki.writers",
    "explain": "tsugiki.api",
    "receipt": "tsugiki.api",
    "graft": "tsugiki.api",
    "load": "tsugiki.api",
    "load_set": "tsugiki.sets",
    "load_writer": "tsugiki.writers",
    "train_writer": "tsugiki.writers",
    "plan": "tsugiki.api",
    "read_splits": "tsugiki.data.rows",
}


class _TrainingRoom(ModuleType):
    """The room `tsugiki.train`; called, it trains."""

    def __call__(
        self,
        rows: Any,
        *,
        base: "str | Path | None" = None,
        out: "str | Path | None" = None,
        parent: "str | Path | None" = None,
        text: "str | Sequence[str] | None" = None,
        pair: str | None = None,
        label: str | None = None,
        domains: str | None = None,
        task: str | None = None,
        sheet: str | None = None,
        encoding: str | None = None,
        config: "str | Path | None" = None,
        settings: "Mapping[str, Any] | None" = None,
    ) -> "Adapter":
        """Train an adapter; `tsugiki.api.train` says what the arguments are."""
        named = {"text": text, "pair": pair, "label": label, "task": task, "sheet": sheet, "encoding": encoding}
        adapter: Adapter = import_module("tsugiki.api").train(
            rows, domains=domains, base=base, out=out, parent=parent, config=config, settings=settings, **named
        )
        return adapter


class _EvaluatingRoom(ModuleType):
    """The room `tsugiki.evaluate`; called, it evaluates."""

    def __call__(
        self,
        adapter: "Adapter",
        rows: Any,
        *,
        split: str = "test",
        text: "str | Sequence[str] | None" = None,
        pair: str | None = None,
        label: str | None = None,
        domains: str | None = None,
        sheet: str | None = None,
        encoding: str | None = None,
        merge_labels: bool = False,
        target_precision: float | None = None,
    ) -> "Evaluation":
        """Say how good answers are; `tsugiki.api.evaluate` says what the arguments are."""
        named = {"text": text, "pair": pair, "label": label, "sheet": sheet, "encoding": encoding}
        evaluation: Evaluation = import_module("tsugiki.api").evaluate(
            adapter,
            rows,
            domains=domains,
            split=split,
            merge_labels=merge_labels,
            target_precision=target_precision,
            **named,
        )
        return evaluation


_ROOMS: dict[str, type[ModuleType]] = {"evaluate": _EvaluatingRoom, "train": _TrainingRoom}


class _FrontDoor(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Whoever imports from a room such as `tsugiki.train` puts it here, in the place of the function of that name.
        if name in _ROOMS and isinstance(value, ModuleType):
            value.__class__ = _ROOMS[name]
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"tsugiki.{name}")
    if name == "__version__":
        return import_module("importlib.metadata").version("tsugiki")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
