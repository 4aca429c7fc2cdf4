"""LoRA in the format of the PEFT library, out and in.

Outwards every scale is folded into `lora_B` and all modules are padded to one rank, so the file means the same to
whatever reads it: SGLang does not know rsLoRA, vLLM does not know a rank or an alpha for each module. Inwards the rows
that do nothing are left out again.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from tsugiki.adapt.adapted import RESIDUAL, Graft
from tsugiki.adapt.form import FORMS
from tsugiki.adapt.forms.low_rank import LowRank
from tsugiki.adapt.package import Package, check_base, read_tensors, write_folder
from tsugiki.base.anatomy import Site
from tsugiki.base.model import Base
from tsugiki.base.suffix import layers_of, trunk
from tsugiki.errors import ExportError, MissingError, PackageError, place_of

CONFIG, WEIGHTS, HEAD, LOADER = "adapter_config.json", "adapter_model.safetensors", "head.safetensors", "load_head.py"

_PREFIX = "base_model.model."
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

_LOAD_HEAD = '''"""Scores from the hidden states of a model with this adapter: their means, then the head.

    model = PeftModel.from_pretrained(base, folder)
    scores(model, **tokenizer(texts, padding=True, return_tensors="pt"))
"""

import json
from pathlib import Path

import torch
from safetensors import safe_open

with safe_open(Path(__file__).with_name("head.safetensors"), framework="pt") as file:
    weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
    facts = json.loads(file.metadata()["tsugiki"])
labels = facts["labels"]


@torch.no_grad()
def scores(model, input_ids, attention_mask, **_):
    """Logits, one column for each of `labels`."""
    layers = model.get_base_model().get_submodule(facts["layers"])
    seen = {}

    def entering(state):
        return lambda _, args, kwargs: seen.update({state: args[0] if args else kwargs["hidden_states"]})

    def leaving(_, args, output):
        seen[len(layers)] = output if isinstance(output, torch.Tensor) else output[0]

    inner = [state for state in facts["states"] if state < len(layers)]
    hooks = [layers[state].register_forward_pre_hook(entering(state), with_kwargs=True) for state in inner]
    hooks.append(layers[-1].register_forward_hook(leaving))
    try:
        model(input_ids=input_ids, attention_mask=attention_mask)
    finally:
        for hook in hooks:
            hook.remove()
    share = attention_mask.float() / attention_mask.sum(1, keepdim=True)
    means = [torch.einsum("bsd,bs->bd", seen[state].float(), share) for state in facts["states"]]
    return torch.cat(means, 1) @ weight.T.to(share.device) + bias.to(share.device)
'''


def export_peft(package: Package, base: Base, folder: Path) -> None:
    """Write an adapter so that `peft.PeftModel.from_pretrained(model, folder)` loads it.

    Decoders are meant for `AutoModelForCausalLM`, encoders for `AutoModel`. Where the package has a head, it goes into
    `head.safetensors`, and `load_head.py` applies it.

    Args:
        package: what is exported.
        base: that it belongs to.
        folder: where; an earlier export is replaced.

    Raises:
        ExportError: PEFT's LoRA cannot hold it.
        PackageError: the package does not belong to the base, or something else is at the folder.
    """
    _check_exportable(package)
    check_base(package, base)
    alone, under_head = _layers_paths(base)
    layers = under_head if base.anatomy.causal else alone
    pairs = {f"{layers}.{path}": pair for path, pair in _joined(package, base).items()}
    rank = max(down.shape[1] for down, _ in pairs.values())
    sites = [(g.layer, base.anatomy.site(g.layer, g.site)) for g in package.grafts]
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if base.anatomy.causal else "FEATURE_EXTRACTION",
        "base_model_name_or_path": package.manifest.base.name,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(pairs),
        # What PEFT calls weights that are stored input first: GPT-2's Conv1D.
        "fan_in_fan_out": any(hasattr(_module(base, layer, site), "nf") for layer, site in sites),
        "inference_mode": True,
    }
    files = {
        CONFIG: json.dumps(config, indent=2).encode(),
        WEIGHTS: save(_lora_tensors(pairs, rank), metadata={"format": "pt"}),
    }
    if head := package.part("head"):
        manifest = package.manifest
        # Elsewhere nobody divides by it.
        head = {name: tensor / manifest.head.temperature for name, tensor in head.items()}
        facts = {"layers": layers, "states": manifest.head.states, "labels": manifest.task.get("labels")}
        files |= {HEAD: save(head, metadata={"tsugiki": json.dumps(facts)}), LOADER: _LOAD_HEAD.encode()}
    write_folder(folder, files, replaceable=(CONFIG, WEIGHTS, HEAD, LOADER))


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


def _check_exportable(package: Package) -> None:
    manifest = package.manifest
    if not manifest.placement.modules:
        raise ExportError("export.head_only", package=manifest.name)
    if manifest.head.words is not None:
        raise ExportError("export.lexicon", package=manifest.name)
    if manifest.head.states and manifest.head.reader["kind"] != "mean":
        raise ExportError("export.reader", package=manifest.name, found=manifest.head.reader["kind"])
    for graft in package.grafts:
        where = f"layers.{graft.layer}.{graft.site}"
        if not isinstance(graft.form, LowRank):
            raise ExportError("export.form", site=where, found=graft.form.kind)
        if graft.site == RESIDUAL:
            raise ExportError("export.residual", site=where)


def _joined(package: Package, base: Base) -> dict[str, tuple[Tensor, Tensor]]:
    """`down` (I, r) and `up` (r, O) of each torch module, scale included; slices of one by joining their ranks."""
    params = package.part("modules")
    joined: dict[str, tuple[Tensor, Tensor]] = {}
    for graft in sorted(package.grafts, key=lambda g: (g.layer, g.site)):
        site = base.anatomy.site(graft.layer, graft.site)
        if not _is_projection(_module(base, graft.layer, site)):
            raise ExportError("export.block", site=f"layers.{graft.layer}.{graft.site}")
        form = graft.form
        assert isinstance(form, LowRank)
        down, up = (params[f"{graft.layer}.{graft.site}.{name}"] for name in ("down", "up"))
        width = sum(s.out_width for s in base.anatomy.sites[graft.layer] if s.path == site.path)
        up = torch.nn.functional.pad(up, (site.start, width - site.start - site.out_width))
        up = up * (form.alpha / math.sqrt(form.rank))
        before = joined.get(f"{graft.layer}.{site.path}", (down[:, :0], up[:0]))
        joined[f"{graft.layer}.{site.path}"] = torch.cat([before[0], down], 1), torch.cat([before[1], up], 0)
    return joined


def _lora_tensors(pairs: Mapping[str, tuple[Tensor, Tensor]], rank: int) -> dict[str, Tensor]:
    """Each pair as `lora_A` (r, I) and `lora_B` (O, r), padded with what does nothing to one rank."""
    tensors: dict[str, Tensor] = {}
    for path, (down, up) in pairs.items():
        missing = rank - down.shape[1]
        tensors[f"{_PREFIX}{path}.lora_A.weight"] = torch.nn.functional.pad(down, (0, missing)).T.contiguous()
        tensors[f"{_PREFIX}{path}.lora_B.weight"] = torch.nn.functional.pad(up, (0, 0, 0, missing)).T.contiguous()
    return tensors


def _is_projection(module: nn.Module) -> bool:
    return hasattr(module, "in_features") or hasattr(module, "nf")


def _module(base: Base, layer: int, site: Site) -> nn.Module:
    return layers_of(base.model, base.anatomy)[layer].get_submodule(site.path)


def _layers_paths(base: Base) -> tuple[str, str]:
    """Path of the list of layers in the trunk alone, and in a model with a head on it."""
    prefix = str(getattr(base.model, "base_model_prefix", ""))
    path = base.anatomy.layers_path
    if trunk(base.model) is not base.model:
        path = path.removeprefix(f"{prefix}.")
    return path, f"{prefix}.{path}".lstrip(".")


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
    for layers in _layers_paths(base):
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
