"""Packages with random tensors on tiny bases that stand in a folder, as an export finds them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from tests.adapt.test_package import LABELS, manifest_for, tensors_for
from tests.support.models import LAYERS, WIDTH
from tsugiki.adapt.adapted import RESIDUAL, Graft
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.package import Package
from tsugiki.adapt.reader import READERS
from tsugiki.base.model import load_base
from tsugiki.manifest import HeadFacts

MAX_LENGTH = 32


def packed(
    folder: Path, grafts: Sequence[Graft], *, head: HeadFacts | None = None, exit: int = LAYERS, **changes: object
) -> Package:
    """A package for the base in `folder`; a classifier where it has a head."""
    base = load_base(folder, precision="fp32")
    task = {"kind": "classify", "labels": list(LABELS), "max_length": MAX_LENGTH} if head else {"kind": "imported"}
    facts = {"head": head or HeadFacts(), "task": task, "exit": exit, **changes}
    manifest = manifest_for(base, grafts, **facts)
    tensors = tensors_for(base, manifest)
    if head is not None:
        generator = torch.Generator().manual_seed(1)
        shapes = READERS.parse(head.reader).shapes(len(head.states), WIDTH)
        tensors |= {f"reader.{name}": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return Package(manifest, tensors, manifest.digest())


def projections(folder: Path, *layers: int) -> list[Graft]:
    """Low-rank modules of unlike ranks and strengths on all projections of some layers."""
    anatomy = load_base(folder, precision="fp32").anatomy
    return [
        Graft(layer, site.name, LowRank(rank=1 + number % 3, alpha=1.0 + number))
        for layer in layers
        for number, site in enumerate(anatomy.sites[layer])
        if site.name != RESIDUAL
    ]
