"""Going on from an adapter: its settings, its labels beside new ones, and its modules to start from."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tsugiki.adapt.package import Package
from tsugiki.adapt.package_checks import require_ungrouped
from tsugiki.adapt.reader import READERS
from tsugiki.data.rows import Rows
from tsugiki.errors import ConfigError, PackageError
from tsugiki.i18n import warn
from tsugiki.placement.plan import Plan, head_states
from tsugiki.tasks.task import Task, task_of
from tsugiki.train.shortcut import FIRST

# Next month's file has a sheet and an encoding of its own.
_OF_THE_FILE = ("sheet", "encoding", "domains")
# What was raced beside the winner and lost is not raced again.
_GROUPS = "routing"


def settings_of(parent: Package) -> dict[str, Any]:
    """The settings that a package was trained with, and its base; of modules from elsewhere the base alone.

    Raises:
        PackageError: it neither knows them nor has modules to go on from.
    """
    manifest = parent.manifest
    if not manifest.training and not parent.grafts:
        raise PackageError("package.not_trained_here", package=manifest.name)
    known = {"task": manifest.task["kind"]} if "labels" in manifest.task else {}
    known |= manifest.training.get("data", {})
    data = {name: value for name, value in known.items() if name not in _OF_THE_FILE}
    training = {name: value for name, value in manifest.training.items() if name != _GROUPS}
    return {**training, "data": data, "base": manifest.base.name}


def with_labels_of(parent: Package, task: Task, rows: Rows) -> Task:
    """The task of new rows, with the labels of the package; those that the rows lack are said.

    Raises:
        ConfigError: it is another task.
    """
    if "labels" not in parent.manifest.task:
        return task
    known = task_of(parent.manifest.task)
    if known.kind != task.kind:
        raise ConfigError("train.other_task", found=task.kind, allowed=known.kind, package=parent.manifest.name)
    there = set(rows.classes)
    if lacking := [label for label in known.labels if label not in there]:
        warn("train.labels_without_rows", count=len(lacking), labels=", ".join(lacking[:8]))
    order = task.labels if set(known.labels) <= set(task.labels) else ()
    return task.of(sorted({*known.labels, *task.labels}), order)


def continued(parent: Package, task: Task) -> list[Plan]:
    """The placement of a package as a plan that starts from its tensors; none where it has nothing but a head.

    A new label starts with no weight and the mean bias; a head that is not there is fitted to the states.
    """
    require_ungrouped(parent, "train --from")
    head = parent.manifest.head
    reader = READERS.parse(head.reader)
    if not parent.grafts and not parent.part("reader"):
        return []
    tensors = {n: t for n, t in parent.tensors.items() if n.startswith(("modules.", "reader."))}
    variant = parent.manifest.variant.removeprefix(FIRST).removesuffix(" + words").removesuffix(" again") + " again"
    if "head.weight" not in parent.tensors:
        states = head_states(parent.manifest.base.num_layers)
        return [Plan(variant, states, reader, tuple(parent.grafts), params=tensors)]
    number = task_of(parent.manifest.task).number
    start = {**tensors, **_head(parent.tensors, [number.get(label) for label in task.labels])}
    return [Plan(variant, head.states, reader, tuple(parent.grafts), params=start)]


def _head(tensors: Mapping[str, Tensor], places: list[int | None]) -> dict[str, Tensor]:
    weight, bias = tensors["head.weight"].float(), tensors["head.bias"].float()
    rows = [weight[at] if at is not None else torch.zeros_like(weight[0]) for at in places]
    shifts = [bias[at] if at is not None else bias.mean() for at in places]
    return {"head.weight": torch.stack(rows), "head.bias": torch.stack(shifts)}
