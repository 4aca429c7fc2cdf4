"""What a base is, in one number that does not depend on how it was loaded.

Weights are rounded to bfloat16 before they are hashed, so the same base in float32, in bfloat16, with or without its
vocabulary head, from a file or from memory has the same digest. Each layer has a digest of its own: a base of which
only the lower layers were loaded is still checked against the whole.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tsugiki.base.anatomy import Anatomy
from tsugiki.base.dictionary import dictionaries, settings
from tsugiki.base.suffix import layers_of, trunk

# What a configuration says of the depth, the head, or how it was saved and loaded.
_NO_MATTER = {
    *("num_hidden_layers", "dtype", "torch_dtype", "architectures", "transformers_version", "tie_word_embeddings"),
    *("id2label", "label2id", "problem_type", "use_cache", "return_dict", "output_attentions", "output_hidden_states"),
}


def layer_digests(model: nn.Module, anatomy: Anatomy) -> list[str]:
    """Digests of the embeddings and of each layer, lowest first: `1 + L` strings.

    What all layers share outside of themselves (relative position embeddings) belongs to the embeddings.
    """
    layers = layers_of(model, anatomy)
    return [_digest(_embeddings(model, anatomy, layers)), *(_digest(layer.state_dict()) for layer in layers)]


def _embeddings(model: nn.Module, anatomy: Anatomy, layers: nn.ModuleList) -> dict[str, Tensor]:
    """Tensors of the trunk that act before the last layer but belong to none, by name within the trunk."""
    body = trunk(model)
    after = [model.get_submodule(anatomy.final_norm)] if anatomy.final_norm else []
    place = body
    while layers not in (parts := list(place.children())):
        # What stands behind the part that holds the layers reads what they return (a pooler).
        number = next(i for i, part in enumerate(parts) if layers in part.modules())
        after += parts[number + 1 :]
        place = parts[number]
    left_out = {id(t) for part in (layers, *after) for t in part.state_dict(keep_vars=True).values()}
    return {n: t for n, t in body.state_dict(keep_vars=True).items() if id(t) not in left_out}


def weights_digest(parts: Iterable[str]) -> str:
    """One digest over the digests of embeddings and layers."""
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def settings_digest(model: nn.Module, layers: int) -> str:
    """Digest of what a configuration says about how the lowest layers compute.

    Rotary bases, heads or sliding windows can be changed without any weight. Releases of transformers add fields, so
    this is for what may be computed anew, such as the prefix cache, and not for what is saved.
    """
    config: Any = model.config
    config = config.get_text_config()
    depth = config.num_hidden_layers
    said = {k: v for k, v in config.to_dict().items() if k not in _NO_MATTER and not k.startswith("_")}
    # Per-layer lists count as far as the layers do.
    said = {k: v[:layers] if isinstance(v, list) and len(v) == depth and "layer" in k else v for k, v in said.items()}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def tokenizer_digest(tokenizer: object) -> str:
    """Digest of what the tokenizer does: the whole state of a fast one, else all that its output depends on."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # Truncation and padding are set by whoever called it last and are no part of the tokenizer.
        state = json.loads(backend.to_str()) | {"truncation": None, "padding": None}
        content = json.dumps(state, sort_keys=True, ensure_ascii=False)
    else:
        vocabulary = sorted(tokenizer.get_vocab().items())  # type: ignore[attr-defined]
        parts = [type(tokenizer).__name__, vocabulary, settings(tokenizer), dictionaries(tokenizer)]
        content = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def _digest(tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        total.update(f"{name}{tuple(tensor.shape)}".encode())
        if tensor.is_floating_point():
            tensor = tensor.to(torch.bfloat16)
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data)
    return total.hexdigest()
