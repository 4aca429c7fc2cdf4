"""Texts to token ids, and token ids to batches."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tsugiki.base.model import Base
from tsugiki.data.texts import PAIR, clip

MAX_LENGTH = 256
"""Tokens per row where nothing else is said."""


def encode(base: Base, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids of each text, cut to a length; never empty, so that every row has a token to stand on."""
    if not texts:
        return []
    tokenizer: Any = base.tokenizer
    ids = _ids(tokenizer, [clip(text, max_length) for text in texts], max_length)
    # Where the limit has no room for the special tokens, the tokenizer does not cut at all.
    return [row[:max_length] or [int(tokenizer.pad_token_id)] for row in ids]


def _ids(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """As the tokenizer joins them, where rows are pairs of texts: with its own separator, the longer one cut first."""
    limits = {"truncation": True, "max_length": max_length}
    paired = {row: text.partition(PAIR) for row, text in enumerate(texts) if PAIR in text}
    if paired and tokenizer.num_special_tokens_to_add(pair=True) <= tokenizer.num_special_tokens_to_add(pair=False):
        # A decoder has no separator: a line each.
        return _ids(tokenizer, [text.replace(PAIR, "\n") for text in texts], max_length)
    # What is not a pair stays so, even beside pairs.
    alone = ["" if row in paired else text for row, text in enumerate(texts)]
    found: list[list[int]] = tokenizer(alone, **limits)["input_ids"]
    if paired:
        firsts, seconds = ([parts[at] for parts in paired.values()] for at in (0, 2))
        for row, ids in zip(paired, tokenizer(firsts, seconds, **limits)["input_ids"], strict=True):
            found[row] = ids
    return found


def pad(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask of one batch, (B, S) each, padded on the right."""
    longest = max(map(len, ids))
    batch = torch.zeros(len(ids), longest, dtype=torch.int64)
    mask = torch.zeros(len(ids), longest, dtype=torch.int64)
    for row, tokens in enumerate(ids):
        batch[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return batch, mask
