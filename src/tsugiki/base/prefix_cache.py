"""The prefix cache: what lies below the lowest module never changes, so it is computed once per row and kept.

States are computed in batches of rows of equal length: nothing is padded, so no state depends on its neighbours. Each
state has a shelf of its own, and another holds the mean over the tokens of every state for the head. A row is known by
its text, the tokenizer and the length limit; base, state and precision choose the shelf.
"""

import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from tsugiki.base.model import Base
from tsugiki.base.store import CacheSettings, Rows, Shelf, Size, as_array, cache_root
from tsugiki.base.suffix import run_states
from tsugiki.base.tokens import encode, pad
from tsugiki.data.batches import equal_length_batches
from tsugiki.i18n import notify, text, warn
from tsugiki.progress import progress

_BATCH_TOKENS = 4096
# A run that is killed loses no more than one segment.
_SEGMENT_BYTES = 256 * 10**6


@dataclass
class CachedRows:
    """Token ids and states of some rows.

    Args:
        base: the base the states belong to.
        token_ids: of each row, without padding.
        pooled: mean over the tokens of states `0 .. top`, (N, top + 1, d), float32.
        stored: token states that are on a shelf; others are computed when asked for.
        computed: rows that had to be computed.
        cache_s: seconds this took.
    """

    base: Base
    token_ids: list[list[int]]
    pooled: Tensor
    stored: dict[int, Rows] = field(default_factory=dict)
    computed: int = 0
    cache_s: float = 0.0

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def lengths(self) -> list[int]:
        """Tokens per row."""
        return [len(ids) for ids in self.token_ids]

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Token ids and mask of some rows, (B, S) each."""
        ids, mask = pad([self.token_ids[i] for i in indices])
        return ids.to(self.base.device), mask.to(self.base.device)

    def state(self, number: int, indices: Sequence[int]) -> Tensor:
        """State `number` of some rows, (B, S, d), from the shelf or computed anew."""
        if number in self.stored:
            longest = max(len(self.token_ids[i]) for i in indices)
            return self.stored[number].gather(indices, longest).to(self.base.device)
        ids, mask = self.batch(indices)
        with torch.no_grad():
            return run_states(self.base.model, self.base.anatomy, ids, mask, [number])[number]


class PrefixCache:
    """States of rows under one base, one length limit and one precision.

    Args:
        base: the base.
        max_length: tokens per row at most; the rest is cut.
        settings: whether and how much is kept.
    """

    def __init__(self, base: Base, max_length: int, settings: CacheSettings | None = None) -> None:
        self.base = base
        self.max_length = max_length
        self.settings = settings or CacheSettings()
        self._dtype = str(base.dtype).removeprefix("torch.")

    def rows(self, texts: Sequence[str], states: Collection[int], top: int) -> CachedRows:
        """Token ids, pooled states `0 .. top` and the token states asked for.

        Where the disk has no room the states are not kept: the pooled ones are computed once, the others batch by
        batch when they are needed. That is slower and gives the same numbers.
        """
        began = time.perf_counter()
        token_ids = encode(self.base, texts, self.max_length)
        kept: tuple[Tensor, dict[int, Rows], int] | None = None
        if self.settings.enabled:
            try:
                kept = self._kept(texts, token_ids, sorted(states), top)
            except OSError as error:
                warn("cache.uncached", reason=error)
        if kept is None:
            kept = self._computed(token_ids, top), {}, len(texts)
        pooled, stored, computed = kept
        return CachedRows(self.base, token_ids, pooled, stored, computed, time.perf_counter() - began)

    def num_bytes(self, lengths: Sequence[int], num_states: int) -> int:
        """Bytes that token states of these rows take on disk."""
        return sum(lengths) * self.base.width * self.base.dtype.itemsize * num_states

    def _kept(
        self, texts: Sequence[str], token_ids: list[list[int]], states: list[int], top: int
    ) -> tuple[Tensor, dict[int, Rows], int]:
        keys = [self._key(t) for t in texts]
        shelves = {s: self._shelf(f"state-{s:03d}", self._dtype) for s in states}
        means = self._shelf(f"pooled-{top:03d}", "float32")
        lacking = {s: set(shelf.missing(keys)) for s, shelf in shelves.items()} | {-1: set(means.missing(keys))}
        rows = sorted(set().union(*lacking.values()), key=lambda i: len(token_ids[i]))
        lengths = [len(token_ids[i]) for i in rows]
        if rows:
            notify("cache.building", rows=len(rows), known=len(texts) - len(rows), size=Size(self.num_bytes(lengths, len(states))))
            with progress(text("cache.bar"), len(rows)) as advance:
                for block in _blocks(rows, lengths, _SEGMENT_BYTES // max(1, self.num_bytes([1], len(states) or 1))):
                    self._fill(block, keys, token_ids, shelves, means, lacking, top, advance)
        pooled = np.stack([means.read(keys)[i] for i in range(len(keys))]) if keys else np.zeros((0, top + 1, self.base.width))
        return torch.from_numpy(pooled), {s: shelf.read(keys) for s, shelf in shelves.items()}, len(rows)

    def _fill(
        self,
        block: list[int],
        keys: list[bytes],
        token_ids: list[list[int]],
        shelves: dict[int, Shelf],
        means: Shelf,
        lacking: dict[int, set[int]],
        top: int,
        advance: Callable[[int], None],
    ) -> None:
        lengths = [len(token_ids[i]) for i in block]
        wanted = [s for s in shelves if lacking[s] & set(block)]
        pooling = bool(lacking[-1] & set(block))
        with ExitStack() as stack:
            size = self.num_bytes(lengths, 1)
            drafts = {s: stack.enter_context(shelves[s].writer(size)) for s in wanted}
            mean_bytes = len(block) * (top + 1) * self.base.width * 4
            mean_draft = stack.enter_context(means.writer(mean_bytes)) if pooling else None
            start, below = (0, None) if pooling else self._nearest_below(min(wanted), [keys[i] for i in block])
            for batch in equal_length_batches(lengths, _BATCH_TOKENS):
                rows = [block[i] for i in batch]
                entering = below.gather(batch, lengths[batch[0]]).to(self.base.device) if below is not None else None
                found = self._run([token_ids[i] for i in rows], range(top + 1) if pooling else wanted, start, entering)
                for s, draft in drafts.items():
                    for row, array in zip(rows, as_array(found[s]), strict=True):
                        if row in lacking[s]:
                            draft.add(keys[row], array)
                if mean_draft is not None:
                    pooled = torch.stack([found[s].float().mean(1) for s in range(top + 1)], 1)
                    for row, array in zip(rows, as_array(pooled), strict=True):
                        if row in lacking[-1]:
                            mean_draft.add(keys[row], array)
                advance(len(rows))

    def _computed(self, token_ids: list[list[int]], top: int) -> Tensor:
        pooled = torch.zeros(len(token_ids), top + 1, self.base.width)
        for batch in equal_length_batches([len(ids) for ids in token_ids], _BATCH_TOKENS):
            found = self._run([token_ids[i] for i in batch], range(top + 1), 0, None)
            pooled[batch] = torch.stack([found[s].float().mean(1) for s in range(top + 1)], 1).cpu()
        return pooled

    def _run(
        self, token_ids: list[list[int]], keep: Collection[int], boundary: int, state: Tensor | None
    ) -> dict[int, Tensor]:
        ids = torch.tensor(token_ids, device=self.base.device)
        with torch.inference_mode():
            return run_states(self.base.model, self.base.anatomy, ids, None, keep, boundary=boundary, state=state)

    def _nearest_below(self, state: int, keys: list[bytes]) -> tuple[int, Rows | None]:
        """The highest state under `state` that is on a shelf for all these rows: the run begins there."""
        for lower in range(state - 1, 0, -1):
            folder = cache_root() / self._folder(f"state-{lower:03d}", self._dtype)
            if folder.is_dir():
                shelf = self._shelf(f"state-{lower:03d}", self._dtype)
                if not shelf.missing(keys):
                    return lower, shelf.read(keys)
        return 0, None

    def _key(self, row: str) -> bytes:
        return hashlib.sha256(f"{self.base.tokenizer_digest} {self.max_length} {row}".encode()).digest()

    def _folder(self, kind: str, dtype: str) -> str:
        return f"{self.base.digest[:16]}/{kind}-{dtype}"

    def _shelf(self, kind: str, dtype: str) -> Shelf:
        return Shelf(cache_root() / self._folder(kind, dtype), self.base.width, dtype, self.settings)


def _blocks(rows: list[int], lengths: list[int], max_tokens: int) -> list[list[int]]:
    blocks: list[list[int]] = [[]]
    tokens = 0
    for row, length in zip(rows, lengths, strict=True):
        if tokens + length > max_tokens and blocks[-1]:
            blocks.append([])
            tokens = 0
        blocks[-1].append(row)
        tokens += length
    return blocks
