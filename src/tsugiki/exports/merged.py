"""A plain Hugging Face folder: the modules are merged into the weights of the base, a head of classes is beside it."""

import inspect
import json
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tsugiki.adapt.head_file import LOADER, head_files, require_portable, use_of_head
from tsugiki.adapt.merge import merge
from tsugiki.adapt.package import Package
from tsugiki.adapt.package_checks import check_base
from tsugiki.base.model import Base, load_base, quiet_transformers
from tsugiki.base.suffix import layers_paths
from tsugiki.data.texts import clip
from tsugiki.export import Export
from tsugiki.exports._check import answers, endings, require_equal, sample_texts
from tsugiki.exports._low_rank import require_low_rank, require_mergeable
from tsugiki.tasks.task import task_of


class Merged(Export):
    """What `from_pretrained(folder)` loads, in the precision of the base.

    With a head of classes only the layers up to the exit are written, since none above is read.
    """

    kind: Literal["merged"] = "merged"

    def check(self, package: Package) -> None:
        """Low-rank modules on projections, or none, and a head that can go along."""
        require_portable(package, self.kind)
        require_low_rank(package, self.kind)

    def open_base(self, package: Package, name: str) -> Base:
        """The layers that are run; with its vocabulary head, where it is a decoder that is to write."""
        if "labels" in package.manifest.task:
            return load_base(name, precision="stored", exit=package.manifest.placement.exit)
        base = load_base(name, precision="stored")
        return load_base(name, precision="stored", head=True) if base.anatomy.causal else base

    def write(self, package: Package, base: Base, folder: Path) -> dict[str, str]:
        """Weights, configuration, tokenizer and head, which are loaded again and compared with the adapter."""
        check_base(package, base)
        require_mergeable(package, base, self.kind)
        texts = sample_texts(base)
        own = answers(package, base, texts)
        merge(base, package.grafts, package.part("modules"))
        model: Any = base.model
        if (end := package.manifest.task.get("end")) is not None:
            # Other programs stop at the end that the adapter learnt, whatever the base called so.
            model.generation_config.eos_token_id = end
        with quiet_transformers():
            model.save_pretrained(folder)
        base.tokenizer.save_pretrained(folder)
        for name, content in head_files(package, layers_paths(base.model, base.anatomy)[0]).items():
            (folder / name).write_bytes(content)
        require_equal(package, base, own, _written(package, base, folder, texts))
        return _runners(package, base)


def _written(package: Package, base: Base, folder: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """Scores of what was written, as its README computes them."""
    writes = base.anatomy.head is not None
    loaded = load_base(folder, precision="stored", head=writes)
    if not (folder / LOADER).is_file():
        return endings(loaded, texts)
    max_length = int(package.manifest.task["max_length"])
    loaded.tokenizer.padding_side = "right"
    read = [clip(text, max_length) for text in texts]
    batch = loaded.tokenizer(read, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    scores: NDArray[np.float32] = (
        runpy.run_path(str(folder / LOADER))["scores"](loaded.model, **batch.to(loaded.device)).cpu().numpy()
    )
    return scores


def _runners(package: Package, base: Base) -> dict[str, str]:
    # A pooler is not written, since nothing reads it; without this a random one would be made, and warned of.
    pooled = "add_pooling_layer" in inspect.signature(type(base.model).__init__).parameters
    options = ", add_pooling_layer=False" if pooled else ""
    auto = "AutoModel" if base.anatomy.head is None else "AutoModelForCausalLM"
    imports, model = f"from transformers import {auto}", f'{auto}.from_pretrained("FOLDER"{options})'
    if package.part("head"):
        answer = task_of(package.manifest.task).elsewhere
        return {"transformers": use_of_head(package, model=model, tokenizer="FOLDER", imports=imports, answer=answer)}
    found = {"transformers": f"{imports}\n\nmodel = {model}"}
    if base.anatomy.head is not None:
        served = json.dumps(package.manifest.name)
        found["vLLM"] = f"vllm serve FOLDER --served-model-name {served}"
        found["llama.cpp"] = "python convert_hf_to_gguf.py FOLDER"
    return found
