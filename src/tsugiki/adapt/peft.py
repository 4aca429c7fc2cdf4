"""LoRA in the format of the PEFT library, read as modules of ours; `exports/peft.py` writes it.

Ranks that do nothing, such as those an export pads with, are left out.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tsugiki.adapt.adapted import Graft
from tsugiki.adapt.form import FORMS
from tsugiki.adapt.tensors import read_tensors
from tsugiki.base.anatomy import Site
from tsugiki.base.model import Base
from tsugiki.base.suffix import layers_paths
from tsugiki.errors import MissingError, PackageError, place_of

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_DTYPES = {torch.bfloat16, torch.float16, torch.float32, torch.float64}
_NAME = re.compile(r"base_model\.model\.(?P<path>.+)\.lora_(?P<half>[AB])\.weight")
# Settings under which a LoRA is only `alpha / r * B A`, or that matter to its training alone. Anything else that is set
# may change what the tensors mean, also what a later version of PEFT brings.
_HARMLESS = {
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision"),
    *("alpha_pattern", "lora_alpha", "r", "rank_pattern", "task_type", "use_rslora"),
    *("exclude_modules", "layers_pattern", "layers_to_transform", "target_modules"),
    *("eva_config", "fan_in_fan_out", "lora_dropout", "megatron_core", "qalora_group_size", "runtime_config"),
}
# Other starting points change the base (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) or the formula.
_PLAIN = {"bias": ("none",), "init_lora_weights": (True, "gaussian", "orthogonal", "eva")}


def import_peft(folder: Path, base: Base) -> tuple[list[Graft], dict[str, Tensor]]:
    """Read a LoRA that was trained with PEFT.

    A LoRA on a fused projection becomes one module for each of its slices.

    Returns:
        Its modules, and their tensors by `LAYER.SITE.PARAMETER`, as `AdaptedModel.attach` takes them.

    Raises:
        MissingError: the folder, its configuration or its tensors are not there.
        PackageError: it is not a plain LoRA on the layers of this base.
    """
    config, file = _config(folder), folder / WEIGHTS
    _, tensors = read_tensors(file)
    grafts: list[Graft] = []
    params: dict[str, Tensor] = {}
    for path, (down, up) in _pairs(tensors, file).items():
        layer, sites = _sites(path, base, file)
        found, allowed = (down.shape[0], up.shape[1]), (sites[0].in_width, sum(site.out_width for site in sites))
        if found != allowed:
            raise PackageError("package.peft_shape", path=file, module=path, found=found, allowed=allowed)
        scale = _scale(config, path, down.shape[1], folder / CONFIG)
        for site in sites:
            own_down, own_up = _without_idle(down, up[:, site.start : site.start + site.out_width])
            if f"{layer}.{site.name}.up" in params:
                raise PackageError("package.twice", package=folder, site=f"layers.{layer}.{site.name}")
            if rank := own_down.shape[1]:
                form = FORMS.parse({"kind": "low_rank", "rank": rank, "alpha": scale * math.sqrt(rank)})
                grafts.append(Graft(layer, site.name, form))
                params |= {f"{layer}.{site.name}.down": own_down, f"{layer}.{site.name}.up": own_up}
    return sorted(grafts, key=lambda graft: (graft.layer, graft.site)), params


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise MissingError("package.no_peft", path=path)
    try:
        loaded = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise PackageError("package.not_json", path=path, reason=place_of(error)) from None
    config: dict[str, Any] = loaded if isinstance(loaded, dict) else {}
    if config.get("peft_type") != "LORA":
        raise PackageError("package.peft_type", path=path, found=config.get("peft_type"))
    for setting, value in config.items():
        plain = setting in _PLAIN and value in _PLAIN[setting]
        if value and setting not in _HARMLESS and not plain:
            raise PackageError("package.peft_setting", path=path, setting=setting, found=value)
    return config


def _scale(config: Mapping[str, Any], path: str, rank: int, file: Path) -> float:
    try:
        own = (a for p, a in (config.get("alpha_pattern") or {}).items() if re.match(rf"(.*\.)?({p})$", path))
        alpha = float(next(own, config.get("lora_alpha", 8)))
        if not 0 < alpha < math.inf:
            raise ValueError(alpha)
    except (AttributeError, TypeError, ValueError, re.error) as error:
        raise PackageError("package.peft_alpha", path=file, reason=error) from None
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _pairs(tensors: Mapping[str, Tensor], file: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """`down` (I, r) and `up` (r, O) of each torch module, without the scale."""
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parts = _NAME.fullmatch(name)
        if parts is None or tensor.dim() != 2 or tensor.dtype not in _DTYPES:
            raise PackageError("package.peft_tensor", path=file, tensor=name, found=tuple(tensor.shape))
        if not torch.isfinite(tensor).all():
            raise PackageError("package.not_finite", package=file, tensor=name)
        halves.setdefault(parts["path"], {})[parts["half"]] = tensor.float().T.contiguous()
    for path, half in halves.items():
        if half.keys() != {"A", "B"} or not 0 < half["A"].shape[1] == half["B"].shape[0]:
            raise PackageError("package.peft_half", path=file, module=path)
    return {path: (half["A"], half["B"]) for path, half in halves.items()}


def _sites(path: str, base: Base, file: Path) -> tuple[int, list[Site]]:
    """The layer of a torch module and the sites on it: several where it is fused and we know its slices."""
    for layers in layers_paths(base.model, base.anatomy):
        parts = re.fullmatch(rf"{re.escape(layers)}\.(\d{{1,6}})\.(.+)", path)
        if parts is None or int(parts[1]) >= base.anatomy.num_layers:
            continue
        layer = int(parts[1])
        if sites := [site for site in base.anatomy.sites[layer] if site.path == parts[2]]:
            return layer, sites
    raise PackageError("package.peft_target", path=file, module=path, base=base.name)


def _without_idle(down: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Without the ranks that do nothing: padding, or the other slices of a fused projection."""
    acts = down.any(0) & up.any(1)
    return down[:, acts].contiguous(), up[acts].contiguous()
