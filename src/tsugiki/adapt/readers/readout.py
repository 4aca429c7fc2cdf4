"""Attentive pooling: learnt queries choose which tokens of which layer are read.

Each query pools its own share of the channels, so the features have the width of mean pooling and a head that was
fitted on means fits them. With zero queries every token weighs the same: a fresh readout is mean pooling.
"""

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor

from tsugiki.adapt.reader import Reader


class Readout(Reader):
    """`queries` learnt queries per state, softmax over the tokens.

    Args:
        queries: H per state; each pools `d / H` channels (d must be a multiple of H).
    """

    kind: Literal["readout"] = "readout"
    queries: PositiveInt = 8

    def shapes(self, num_states: int, width: int) -> dict[str, tuple[int, ...]]:
        """`queries` (K, H, d)."""
        return {"queries": (num_states, self.queries, width)}

    def read(self, params: dict[str, Tensor], states: Tensor, mask: Tensor) -> Tensor:
        """Weighted means, (B, K * d)."""
        states = states.float()
        scores = torch.einsum("kbsd,khd->kbhs", states, params["queries"])
        padding = mask[None, :, None, :] == 0
        # Zero once more behind the softmax, for sequences without a token.
        weights = scores.masked_fill(padding, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(padding, 0.0)
        slices = states.unflatten(-1, (self.queries, -1))
        pooled = torch.einsum("kbhs,kbshc->kbhc", weights, slices)
        return pooled.flatten(2).transpose(0, 1).flatten(1)
