"""Texts to token ids, and token ids to batches."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tsugiki.base.model import Base
from tsugiki.data.texts import clip

MAX_LENGTH = 256
"""Tokens per row where nothing else is said."""


def encode(base: Base, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids of each text, cut to a length; never empty, so that every row has a token to stand on."""
    if not texts:
        return []
    tokenizer: Any = base.tokenizer
    clipped = [clip(text, max_length) for text in texts]
    ids: list[list[int]] = tokenizer(clipped, truncation=True, max_length=max_length)["input_ids"]
    # Where the limit has no room for the special tokens, the tokenizer does not cut at all.
    return [row[:max_length] or [int(tokenizer.pad_token_id)] for row in ids]


def pad(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask of one batch, (B, S) each, padded on the right."""
    longest = max(map(len, ids))
    batch = torch.zeros(len(ids), longest, dtype=torch.int64)
    mask = torch.zeros(len(ids), longest, dtype=torch.int64)
    for row, tokens in enumerate(ids):
        batch[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return batch, mask
