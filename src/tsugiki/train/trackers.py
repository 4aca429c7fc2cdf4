"""Curves of a run for whoever watches it elsewhere: trackers of accelerate, such as tensorboard or mlflow."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tsugiki.errors import ConfigError
from tsugiki.home import home, private_folder
from tsugiki.spec import nearest


def tracks() -> Path:
    """The folder for trackers that write files; it stays when a run is over. mlflow keeps its store there as well."""
    folder = private_folder(home() / "tracks")
    # By itself mlflow would write into whatever folder the command is called from.
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    return folder


def require_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are unknown or not installed, before minutes are spent.

    Raises:
        ConfigError: accelerate would have left one out without a word.
    """
    if not names:
        return
    from accelerate.tracking import get_available_trackers

    installed = sorted(str(tracker) for tracker in get_available_trackers())
    for name in names:
        if name not in installed:
            allowed = ", ".join(installed) or "-"
            raise ConfigError("train.no_tracker", found=name, allowed=allowed, nearest=nearest(name, installed))


def plain(settings: Mapping[str, object]) -> dict[str, bool | float | str]:
    """Settings as trackers take them: numbers and texts, and nothing for what is not set."""
    return {name: v if isinstance(v, bool | int | float) else str(v) for name, v in settings.items() if v is not None}
