"""Batches by token budget: what a batch costs is its padded tokens, not its rows.

A batch is a list of row numbers (0-based). Long batches come first where nothing is shuffled, so that a batch too large
for the memory fails at once.
"""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import ArrayLike

_JITTER = 0.1  # rows whose lengths differ by less than this share may change places: other company, little padding


def length_batches(
    lengths: Sequence[int], max_tokens: int, max_rows: int, *, shuffle_seed: int | tuple[int, int] | None = None
) -> list[list[int]]:
    """Batches of rows of similar length, every row once.

    Args:
        lengths: tokens of each row (N).
        max_tokens: rows times the longest of them, per batch; a single longer row gets a batch of its own.
        max_rows: rows per batch, at least 1.
        shuffle_seed: None for longest first, ties in the order given. A seed, usually (seed, epoch), draws the order of
            the batches, and which rows of near-equal length meet.
    """
    if shuffle_seed is None:
        return _packed(lengths, _longest_first(lengths), max_tokens, max_rows)
    rng = np.random.default_rng(shuffle_seed)
    near = (1 + np.asarray(lengths)) * (
        1 + _JITTER * rng.random(len(lengths))
    )  # 1 +: rows of no token change places too
    batches = _packed(lengths, _longest_first(near), max_tokens, max_rows)
    return [batches[i] for i in rng.permutation(len(batches)).tolist()]


def equal_length_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Batches of rows of exactly the same length, so nothing is padded; every row once, longest first.

    Args:
        lengths: tokens of each row (N).
        max_tokens: per batch; a single longer row gets a batch of its own.
    """
    batches: list[list[int]] = []
    for _, rows in groupby(_longest_first(lengths), key=lambda i: lengths[i]):
        batches += _packed(lengths, list(rows), max_tokens, len(lengths))
    return batches


def _longest_first(lengths: ArrayLike) -> list[int]:
    order: list[int] = np.argsort(-np.asarray(lengths), kind="stable").tolist()
    return order


def _packed(lengths: Sequence[int], order: Sequence[int], max_tokens: int, max_rows: int) -> list[list[int]]:
    """Cut `order` into batches wherever the next row would break a limit."""
    batches: list[list[int]] = []
    longest = 0
    for i in order:
        longest = max(longest, lengths[i])
        if batches and len(batches[-1]) < max_rows and longest * (len(batches[-1]) + 1) <= max_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
            longest = lengths[i]
    return batches
