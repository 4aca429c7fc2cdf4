"""From hidden states to logits over the vocabulary, for those positions alone that somebody asks for.

A model computes logits for whole rows. Where only some positions count, the final norm and the head are called on
these. What else a model does with its logits (a scale, a soft cap) is found by comparing with its own on a few tokens.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from tsugiki.base.model import Base
from tsugiki.base.suffix import run_states
from tsugiki.errors import BaseModelError

_TOKENS = 8
_NEAR = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}


class Vocabulary:
    """The way from the last state of a decoder to its logits.

    Args:
        base: with its head.

    Raises:
        BaseModelError: it has no head, or does something with its logits that is not known here.
    """

    def __init__(self, base: Base) -> None:
        if not base.anatomy.causal or base.anatomy.head is None:
            raise BaseModelError("base.cannot_write", name=base.name)
        self._head = base.model.get_submodule(base.anatomy.head)
        norm = base.anatomy.final_norm
        self._norm = base.model.get_submodule(norm) if norm else torch.nn.Identity()
        self._after = self._found(base)

    def __call__(self, states: Tensor) -> Tensor:
        """Logits (N, V) of last states (N, d), which no norm has seen yet."""
        return self._after(self._head(self._norm(states)))

    @torch.no_grad()
    def _found(self, base: Base) -> Callable[[Tensor], Tensor]:
        """What the model does behind its head."""
        model: Any = base.model
        size = int(model.config.get_text_config().vocab_size)
        ids = (torch.arange(_TOKENS, device=base.device) * (size // _TOKENS))[None]
        state = run_states(model, base.anatomy, ids, None, (base.num_layers,))[base.num_layers]
        plain, wanted = self._head(self._norm(state)), model(input_ids=ids, use_cache=False).logits
        near = _NEAR.get(base.dtype, 1e-3) * float(wanted.float().std())
        for after in _known(model.config.get_text_config()):
            if float((after(plain) - wanted).abs().max()) <= near:
                return after
        raise BaseModelError("base.unknown_head", name=base.name, architecture=type(model).__name__)


def _known(config: Any) -> Iterator[Callable[[Tensor], Tensor]]:
    yield lambda logits: logits
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma 2 and 3
        yield lambda logits: cap * torch.tanh(logits / cap)
    if scale := getattr(config, "logit_scale", None):  # Cohere
        yield lambda logits: logits * scale
    if divisor := getattr(config, "logits_scaling", None):  # Granite
        yield lambda logits: logits / divisor
