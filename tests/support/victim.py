"""Runs in processes of their own: to be killed, or to work beside one another.

A fork server that has torch imported starts each of them in a moment.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import BertModel, PreTrainedTokenizerFast

from tests.support.runs import easy_splits, quick_config, suffix_plan, track
from tsugiki.base import prefix_cache
from tsugiki.placement.plan import Plan
from tsugiki.train import checkpoint, loop
from tsugiki.train.config import RoutingSettings
from tsugiki.train.grouping import Setup
from tsugiki.train.run import train_adapter
from tsugiki.train.track import Track

# Imported for the fork server, since the library imports them where they are used.
_PRELOADED = (BertModel, PreTrainedTokenizerFast, prefix_cache, checkpoint, loop, Track, train_adapter)

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])


def start(target: Callable[..., None], *arguments: Any, environment: Mapping[str, str] | None = None) -> Any:
    """A process that calls `target`, at home where this one is."""
    # The fork server keeps the environment in which it was started.
    own = {name: value for name, value in os.environ.items() if name.startswith("TSUGIKI_")}
    process = processes.Process(target=_run, args=(target, arguments, {**own, **(environment or {})}))
    process.start()
    return process


def finish(process: Any, timeout: float = 60.0) -> int:
    """The exit code; a process that hangs is killed."""
    process.join(timeout)
    if process.is_alive():
        process.kill()
        process.join()
        raise TimeoutError(f"{process} did not end")
    return int(process.exitcode)


def _run(target: Callable[..., None], arguments: tuple[Any, ...], environment: dict[str, str]) -> None:
    torch.set_num_threads(1)
    os.environ.update(environment)
    target(*arguments)


def train_and_die(base: str, settings: dict[str, Any], moment: str, number: int) -> None:
    """A whole run that is killed like `kill -9` right before the `number`-th time of a moment (0: never)."""
    moments = {
        "cache": (prefix_cache.PrefixCache, "_run"),
        "step": (loop, "step"),
        "validation": (loop.Labelled, "measure"),
        "rename": (Path, "replace"),
        "candidate": (Track, "_candidate"),
        "checkpoint": (checkpoint.Checkpoint, "save"),
    }
    if number:
        _die_at(*moments[moment], number)
    train_adapter(easy_splits(), quick_config(base, **settings))


def _die_at(owner: Any, name: str, number: int) -> None:
    real, calls = getattr(owner, name), []

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)

    setattr(owner, name, counted)


def train_and_save(base: str, settings: dict[str, Any], out: str) -> None:
    """A whole run whose package is saved."""
    train_adapter(easy_splits(), quick_config(base, **settings)).adapter.save(out)


def train_plans_together(folder: str, rows: int, settings: dict[str, Any], out: str) -> None:
    """Two plans one after the other, each trained by all processes of the environment."""
    started = track(Path(folder), splits=easy_splits(rows), **settings)
    _train(started, (suffix_plan(started.base), suffix_plan(started.base, 1)), out)


def train_groups_together(folder: str, rows: int, settings: dict[str, Any], out: str) -> None:
    """One plan with groups that find their inputs by themselves."""
    _train_groups(folder, rows, settings, out, RoutingSettings(anonymous=2, route_by="token"), ())


def train_domains_together(folder: str, rows: int, settings: dict[str, Any], out: str) -> None:
    """One plan with groups of two domains, of which most rows have none."""
    _train_groups(folder, rows, settings, out, RoutingSettings(), ("one", "other"))


def _train_groups(
    folder: str, rows: int, settings: dict[str, Any], out: str, routing: RoutingSettings, domains: tuple[str, ...]
) -> None:
    started = track(Path(folder), splits=easy_splits(rows), **settings)
    routing = routing.model_copy(update={"form": {"kind": "bottleneck", "rank": 4}})
    parts = {name: getattr(started, name) for name in ("train", "held")}
    where = {
        name: replace(part, domains=torch.arange(len(part.rows)) % 6 if domains else torch.full((len(part.rows),), -1))
        for name, part in parts.items()
    }
    for part in where.values():
        part.domains[part.domains > 1] = -1
    started = replace(started, groups=Setup(started.base, routing, domains), **where)
    _train(started, [replace(suffix_plan(started.base), variant="grouped", grouped=True)], out)


def _train(started: Track, plans: Sequence[Plan], out: str) -> None:
    for plan in plans:
        candidate = started.run(plan, None, 0.0)
        name = f"{plan.variant.replace('/', '-').replace(' ', '-')}-{os.environ.get('RANK', '0')}.safetensors"
        save_file({**candidate.tensors, "logits": candidate.logits}, Path(out) / name)
