"""Tiny random models of every supported family, built on the spot."""

from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

WIDTH = 32
LAYERS = 4

_DECODER = {
    "vocab_size": 64,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_ENCODER = {
    "vocab_size": 64,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": 66,
    "pad_token_id": 0,
}
_GEMMA = {"head_dim": 8, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"] * 2}
_DEBERTA = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8, "conv_kernel_size": 3}
_GPT2 = {"vocab_size": 64, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4, "n_positions": 64, "n_inner": 48}
_NEOX = {k: v for k, v in _DECODER.items() if k != "num_key_value_heads"}
_MODERN = {"global_attn_every_n_layers": 2, "local_attention": 4, "cls_token_id": 1, "sep_token_id": 2}

DECODERS: dict[str, dict[str, Any]] = {
    "llama": _DECODER,
    "qwen3": {**_DECODER, "head_dim": 8},
    "gemma3_text": {**_DECODER, **_GEMMA},
    "mistral": {**_DECODER, "sliding_window": 4},
    "phi3": _DECODER,
    "mixtral": {**_DECODER, "num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt2": {**_GPT2, "bos_token_id": 1, "eos_token_id": 2},
    "gpt_neox": _NEOX,
}
ENCODERS: dict[str, dict[str, Any]] = {
    "bert": _ENCODER,
    "roberta": _ENCODER,
    "modernbert": {**_ENCODER, **_MODERN},
    "deberta-v2": {**_ENCODER, **_DEBERTA},
}
FAMILIES = [*DECODERS, *ENCODERS]


def tiny(family: str, *, head: bool = False, seed: int = 0) -> nn.Module:
    """A random model of a family: 4 layers, 32 wide, without dropout, frozen.

    Args:
        family: one of `FAMILIES`.
        head: whether it ends with a head over the vocabulary, causal or for masked words.
        seed: of the weights.
    """
    from transformers import AutoConfig

    config = AutoConfig.for_model(family, **DECODERS.get(family, ENCODERS.get(family, {})))
    for name in ("attention_probs_dropout_prob", "hidden_dropout_prob", "attn_pdrop", "embd_pdrop", "resid_pdrop"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    torch.manual_seed(seed)
    kind = AutoModelForMaskedLM if family in ENCODERS else AutoModelForCausalLM
    model: nn.Module = (kind if head else AutoModel).from_config(config)
    # Default initialisation is so small that a skipped layer would hardly show.
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(5.0)
    return model.requires_grad_(False).eval()


def inputs(batch: int = 3, length: int = 9, *, vocabulary: int = 64, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random token ids with padding on the right, (B, S)."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocabulary, (batch, length), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(1, batch):
        mask[row, length - row :] = 0
        ids[row, length - row :] = 0
    return {"input_ids": ids, "attention_mask": mask}
