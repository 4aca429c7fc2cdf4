"""LoRA in the format of the PEFT library.

Every scale is folded into `lora_B` and all modules are padded to one rank, so the file means the same to whatever reads
it: SGLang does not know rsLoRA, vLLM does not know a rank or an alpha for each module.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import pad

from tsugiki.adapt.head_file import head_files, require_portable, use_of_head
from tsugiki.adapt.merge import is_input_first, pairs, projection
from tsugiki.adapt.package import Package
from tsugiki.adapt.package_checks import check_base
from tsugiki.adapt.peft import CONFIG, WEIGHTS
from tsugiki.base.model import Base, load_base, public_name
from tsugiki.base.suffix import layers_paths
from tsugiki.errors import ExportError
from tsugiki.export import Export
from tsugiki.exports._low_rank import require_low_rank, require_mergeable
from tsugiki.tasks.task import task_of

_PREFIX = "base_model.model."
# The ranks that vLLM's option takes.
_VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


class Peft(Export):
    """What `peft.PeftModel.from_pretrained(model, folder)` loads; a head of classes goes along as files.

    Decoders are meant for `AutoModelForCausalLM`, encoders for `AutoModel`.
    """

    kind: Literal["peft"] = "peft"

    def check(self, package: Package) -> None:
        """Low-rank modules on projections, and a head that can go along."""
        require_portable(package, self.kind)
        if not package.grafts:
            raise ExportError("export.head_only", package=package.manifest.name)
        require_low_rank(package, self.kind)

    def open_base(self, package: Package, name: str) -> Base:
        """All layers. Digests are taken from bfloat16, and nothing is computed here."""
        return load_base(name, precision="bf16")

    def write(self, package: Package, base: Base, folder: Path) -> dict[str, str]:
        """Configuration, tensors and head."""
        check_base(package, base)
        require_mergeable(package, base, self.kind)
        layers = layers_paths(base.model, base.anatomy)[base.anatomy.causal]
        joined = pairs(base, package.grafts, package.part("modules"))
        rank = max(down.shape[1] for down, _ in joined.values())
        config = _config(package, base, [f"{layers}.{path}" for path in joined], rank)
        files = {
            CONFIG: json.dumps(config, indent=2).encode(),
            WEIGHTS: save(_lora_tensors(layers, joined, rank), metadata={"format": "pt"}),
            **head_files(package, layers),
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return _runners(package, base, rank)


def _config(package: Package, base: Base, modules: list[str], rank: int) -> dict[str, object]:
    """What readers look at is said even where it is the default."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if base.anatomy.causal else "FEATURE_EXTRACTION",
        "base_model_name_or_path": public_name(package.manifest.base.name),
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "use_rslora": False,
        "use_dora": False,
        "bias": "none",
        "modules_to_save": None,
        "target_modules": modules,
        "fan_in_fan_out": _has_input_first(package, base),
        "inference_mode": True,
    }


def _has_input_first(package: Package, base: Base) -> bool:
    """Whether a module stands on a weight that is stored input first, which is all of them or none."""
    graft = package.grafts[0]
    return is_input_first(projection(base, graft.layer, base.anatomy.site(graft.layer, graft.site)))


def _lora_tensors(layers: str, joined: Mapping[str, tuple[Tensor, Tensor]], rank: int) -> dict[str, Tensor]:
    """Each pair as `lora_A` (r, I) and `lora_B` (O, r), padded with what does nothing to one rank."""
    tensors: dict[str, Tensor] = {}
    for path, (down, up) in joined.items():
        missing, name = rank - down.shape[1], f"{_PREFIX}{layers}.{path}"
        tensors[f"{name}.lora_A.weight"] = pad(down, (0, missing)).T.contiguous()
        tensors[f"{name}.lora_B.weight"] = pad(up, (0, 0, 0, missing)).T.contiguous()
    return tensors


def _runners(package: Package, base: Base, rank: int) -> dict[str, str]:
    name, place = package.manifest.name, public_name(package.manifest.base.name)
    auto = "AutoModelForCausalLM" if base.anatomy.causal else "AutoModel"
    model = f'PeftModel.from_pretrained({auto}.from_pretrained({json.dumps(place)}), "FOLDER")'
    imports = f"from peft import PeftModel\nfrom transformers import {auto}"
    if package.part("head"):
        answer = task_of(package.manifest.task).elsewhere
        return {"PEFT": use_of_head(package, model=model, tokenizer=place, imports=imports, answer=answer)}
    found = {
        "PEFT": f"{imports}\n\nmodel = {model}",
        "transformers": f'from transformers import {auto}\n\nmodel = {auto}.from_pretrained("FOLDER")',
    }
    # Neither knows a LoRA on weights that are stored input first.
    if base.anatomy.causal and not _has_input_first(package, base) and rank <= max(_VLLM_RANKS):
        most = next(allowed for allowed in _VLLM_RANKS if allowed >= rank)
        served = f"--enable-lora --max-lora-rank {most} --lora-modules {json.dumps(f'{name}=FOLDER')}"
        found["vLLM"] = f"vllm serve {json.dumps(place)} {served}"
        where = "--base" if Path(place).is_dir() else "--base-model-id"
        found["llama.cpp"] = f"python convert_lora_to_gguf.py FOLDER {where} {json.dumps(place)}"
    return found
