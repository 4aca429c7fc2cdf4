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

    from tsugiki.api import attach, load, train
    from tsugiki.data.rows import read_splits
    from tsugiki.errors import TsugikiError
    from tsugiki.tasks.adapter import Adapter

    __version__: str

__all__ = ["Adapter", "TsugikiError", "__version__", "attach", "load", "read_splits", "train"]

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
    "TsugikiError": "tsugiki.errors",
    "attach": "tsugiki.api",
    "load": "tsugiki.api",
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
        task: str | None = None,
        sheet: str | None = None,
        encoding: str | None = None,
        config: "str | Path | None" = None,
        settings: "Mapping[str, Any] | None" = None,
    ) -> "Adapter":
        """Train an adapter; `tsugiki.api.train` says what the arguments are."""
        named = {"text": text, "pair": pair, "label": label, "task": task, "sheet": sheet, "encoding": encoding}
        adapter: Adapter = import_module("tsugiki.api").train(
            rows, base=base, out=out, parent=parent, config=config, settings=settings, **named
        )
        return adapter


class _FrontDoor(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Whoever imports from the room `tsugiki.train` puts it here, in the place of the function of that name.
        if name == "train" and isinstance(value, ModuleType):
            value.__class__ = _TrainingRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor


def __getattr__(name: str) -> Any:
    if name == "train":
        return import_module("tsugiki.train")
    if name == "__version__":
        return import_module("importlib.metadata").version("tsugiki")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
