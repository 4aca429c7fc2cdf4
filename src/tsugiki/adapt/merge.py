"""Low-rank modules as a change of the base's own projections: joined by projection, or merged into its weight."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from tsugiki.adapt.adapted import RESIDUAL, Graft
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.base.anatomy import Site
from tsugiki.base.model import Base
from tsugiki.base.suffix import layers_of


def is_mergeable(base: Base, graft: Graft) -> bool:
    """Whether a module can be written into a weight of the base: it is low-rank, and its site has one of its own."""
    if not isinstance(graft.form, LowRank) or graft.site == RESIDUAL:
        return False
    module = projection(base, graft.layer, base.anatomy.site(graft.layer, graft.site))
    # A block of experts has many.
    return hasattr(module, "in_features") or is_input_first(module)


def projection(base: Base, layer: int, site: Site) -> nn.Module:
    """The torch module that a site is a part of."""
    return layers_of(base.model, base.anatomy)[layer].get_submodule(site.path)


def is_input_first(module: nn.Module) -> bool:
    """Whether the weight is stored (I, O): GPT-2's Conv1D."""
    return hasattr(module, "nf")


def pairs(base: Base, grafts: Iterable[Graft], params: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """`down` (I, r) and `up` (r, O) of each projection, scale included; slices of a fused one by joining their ranks.

    Args:
        base: where the modules stand.
        grafts: that are mergeable.
        params: their tensors by `LAYER.SITE.PARAMETER`.

    Returns:
        By `LAYER.PATH` of the torch module.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for graft in sorted(grafts, key=lambda g: (g.layer, g.site)):
        site, form = base.anatomy.site(graft.layer, graft.site), graft.form
        assert isinstance(form, LowRank)
        down, up = (params[f"{graft.layer}.{graft.site}.{name}"] for name in ("down", "up"))
        width = sum(s.out_width for s in base.anatomy.sites[graft.layer] if s.path == site.path)
        up = nn.functional.pad(up, (site.start, width - site.start - site.out_width))
        up = up * (form.alpha / math.sqrt(form.rank))
        before = found.get(f"{graft.layer}.{site.path}", (down[:, :0], up[:0]))
        found[f"{graft.layer}.{site.path}"] = torch.cat([before[0], down], 1), torch.cat([before[1], up], 0)
    return found


def merge(base: Base, grafts: Iterable[Graft], params: Mapping[str, Tensor]) -> None:
    """Add modules to the weights of their projections. The base is changed: it must be loaded for this alone.

    Args:
        base: where the modules stand.
        grafts: that are mergeable.
        params: their tensors by `LAYER.SITE.PARAMETER`.
    """
    for path, (down, up) in pairs(base, grafts, params).items():
        layer, _, inner = path.partition(".")
        module = layers_of(base.model, base.anatomy)[int(layer)].get_submodule(inner)
        weight = module.weight
        assert isinstance(weight, Tensor)
        change = (down @ up).to(weight.device)
        # Added before it is rounded to the precision of the weight.
        summed = weight.float() + (change if is_input_first(module) else change.T)
        weight.data = summed.to(weight.dtype)
