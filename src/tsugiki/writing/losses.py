"""Losses of answers: logits for the tokens that are supervised, and for no others."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tsugiki.base.vocabulary import Vocabulary


def answer_losses(vocabulary: Vocabulary, last: Tensor, ids: Tensor, mask: Tensor, starts: Sequence[int]) -> Tensor:
    """Losses of the answers of some rows in nats, (B,).

    Args:
        vocabulary: of the base.
        last: its last state, (B, S, d); that of a token foretells the next one.
        ids: token ids, (B, S).
        mask: 1 for tokens, 0 for padding on the right, (B, S).
        starts: place of the first token of each answer, at least 1.
    """
    begin = torch.tensor(list(starts), device=ids.device)
    places = torch.arange(1, ids.shape[1], device=ids.device)
    supervised = (places >= begin[:, None]) & (mask[:, 1:] > 0)
    logits = vocabulary(last[:, :-1][supervised]).float()
    each = functional.cross_entropy(logits, ids[:, 1:][supervised], reduction="none")
    return torch.zeros(len(ids), device=ids.device).index_add(0, supervised.nonzero()[:, 0], each)
