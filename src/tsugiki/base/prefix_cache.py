"""The prefix cache: what lies below the lowest module never changes, so it is computed once per row and kept.

States are computed in batches of rows of equal length: nothing is padded, so no state depends on its neighbours. Each
state has a shelf of its own, and another holds the mean over the tokens of every state for the head. A row is known by
its text; the layers below the state, their settings, the precision, the tokenizer and the length limit choose the
shelf, so a base of which only the lower layers are loaded shares what it can with the whole.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

import numpy as np
import psutil
import torch
from torch import Tensor

from tsugiki.base.digest import settings_digest, weights_digest
from tsugiki.base.facts import ShelfFacts
from tsugiki.base.model import Base
from tsugiki.base.segment import STORED_AS, Array, Draft, as_array
from tsugiki.base.shelf import Rows, Shelf
from tsugiki.base.suffix import run_states
from tsugiki.base.tokens import encode, pad
from tsugiki.base.upkeep import CacheSettings, Size, cache_root
from tsugiki.data.batches import equal_length_batches
from tsugiki.errors import reason_of
from tsugiki.i18n import notify, text, warn
from tsugiki.progress import progress

# A run that is killed loses no more than one segment.
_SEGMENT_BYTES = 256 * 10**6
# Of the memory that is free, for states that are not on the disk.
_MEMORY_SHARE = 0.25
# Starts what rows are known by that are given as tokens; no text has this in it.
_AS_TOKENS = "\0tokens "


@dataclass
class CachedRows:
    """Token ids and states of some rows.

    Args:
        base: the base the states belong to.
        token_ids: of each row, without padding.
        pooled: mean over the tokens of states `0 .. top`, (N, top + 1, d), float32.
        stored: token states that are on a shelf or in memory; others are computed when asked for.
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

    def take(self, indices: Sequence[int]) -> "CachedRows":
        """Some rows with their pooled states; token states stay behind and are computed when asked for."""
        return CachedRows(self.base, [self.token_ids[i] for i in indices], self.pooled[list(indices)])

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Token ids and mask of some rows, (B, S) each."""
        ids, mask = pad([self.token_ids[i] for i in indices])
        return ids.to(self.base.device), mask.to(self.base.device)

    def state(self, number: int, indices: Sequence[int]) -> Tensor:
        """State `number` of some rows, (B, S, d), as stored or computed anew."""
        if number in self.stored:
            longest = max(len(self.token_ids[i]) for i in indices)
            return self.stored[number].gather(indices, longest).to(self.base.device)
        ids, mask = self.batch(indices)
        with torch.no_grad():
            return run_states(self.base.model, self.base.anatomy, ids, mask, [number])[number]


@dataclass(frozen=True)
class _Order:
    """Rows asked for at once, the shelves that shall hold them, and what these lack.

    Args:
        keys: of the rows.
        token_ids: of the rows.
        top: highest state of which means are kept.
        shelves: by state.
        means: holds the means of states `0 .. top`.
        lacking: rows to compute, by state.
        unpooled: rows whose means are to be computed.
    """

    keys: list[bytes]
    token_ids: list[list[int]]
    top: int
    shelves: dict[int, Shelf]
    means: Shelf
    lacking: dict[int, set[int]]
    unpooled: set[int]

    def rows(self) -> list[int]:
        """Rows of which something is lacking, short ones first."""
        return sorted(self.unpooled.union(*self.lacking.values()), key=lambda i: len(self.token_ids[i]))

    def put(self, draft: Draft, wanted: set[int], rows: Iterable[int], arrays: Iterable[Array]) -> None:
        """Add those rows of a batch that are wanted."""
        for row, array in zip(rows, arrays, strict=True):
            if row in wanted:
                draft.add(self.keys[row], array)


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

        Where the disk is not to be used, or has no room, all are held in memory until the run is over. Where memory has
        no room for the token states, each batch is computed when it is needed: that is slower, with the same numbers.
        """
        began = time.perf_counter()
        token_ids = encode(self.base, texts, self.max_length)
        pooled, stored, computed = self._kept(texts, token_ids, states, top) or self._computed(token_ids, states, top)
        return CachedRows(self.base, token_ids, pooled, stored, computed, time.perf_counter() - began)

    def written(self, token_ids: list[list[int]], states: Collection[int]) -> CachedRows:
        """Rows that are given as tokens, such as prompts with their answers, and the token states asked for.

        A mean over them would see the answer, so there is one of the embeddings alone.
        """
        began = time.perf_counter()
        names = [_AS_TOKENS + " ".join(map(str, ids)) for ids in token_ids]
        pooled, stored, computed = self._kept(names, token_ids, states, 0) or self._computed(token_ids, states, 0)
        return CachedRows(self.base, token_ids, pooled, stored, computed, time.perf_counter() - began)

    def prompts(self, token_ids: list[list[int]], top: int) -> Tensor:
        """Means over the tokens of states `0 .. top` of rows that are given as tokens, (N, top + 1, d), float32."""
        return self._computed(token_ids, (), top)[0]

    def num_bytes(self, lengths: Sequence[int], num_states: int) -> int:
        """Bytes that token states of these rows take on disk."""
        return sum(lengths) * self.base.width * self.base.dtype.itemsize * num_states

    # --- with shelves

    def _kept(
        self, texts: Sequence[str], token_ids: list[list[int]], states: Collection[int], top: int
    ) -> tuple[Tensor, dict[int, Rows], int] | None:
        """Pooled states, token states and the number of rows computed; None where nothing can be kept."""
        if not self.settings.enabled:
            return None
        try:
            order = self._order(texts, token_ids, states, top)
            rows = order.rows()
            if rows:
                self._fill(order, rows)
            else:
                notify("cache.known", rows=len(texts))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            warn("cache.uncached", reason=where + reason_of(error))
            return None
        pooled = torch.zeros(len(texts), top + 1, self.base.width)
        means = order.means.read(order.keys)
        for i in range(len(texts)):
            pooled[i] = torch.from_numpy(means[i].copy())
        return pooled, {s: shelf.read(order.keys) for s, shelf in order.shelves.items()}, len(rows)

    def _order(self, texts: Sequence[str], token_ids: list[list[int]], states: Collection[int], top: int) -> _Order:
        about = self._about("pooled", top, "float32")
        keys = [about.key(text) for text in texts]
        shelves = {s: self._shelf("state", s, self._dtype) for s in sorted(states)}
        means = self._shelf("pooled", top, "float32")
        lacking = {s: set(shelf.missing(keys)) for s, shelf in shelves.items()}
        return _Order(keys, token_ids, top, shelves, means, lacking, set(means.missing(keys)))

    def _fill(self, order: _Order, rows: list[int]) -> None:
        lengths = [len(order.token_ids[i]) for i in rows]
        num_bytes = self.num_bytes(lengths, len(order.shelves)) + self._means_bytes(len(rows), order.top)
        notify("cache.building", rows=len(rows), known=len(order.keys) - len(rows), size=Size(num_bytes))
        max_tokens = _SEGMENT_BYTES // self.num_bytes([1], max(1, len(order.shelves)))
        with progress(text("cache.bar"), len(rows)) as advance:
            for block in _blocks(rows, lengths, max_tokens):
                self._fill_segments(order, block, advance)

    def _fill_segments(self, order: _Order, block: list[int], advance: Callable[[int], None]) -> None:
        """Compute what is lacking of some rows; one segment on each shelf that lacks any of them."""
        lengths = [len(order.token_ids[i]) for i in block]
        wanted = [s for s, rows in order.lacking.items() if rows.intersection(block)]
        pooling = bool(order.unpooled.intersection(block))
        keep = range(order.top + 1) if pooling else wanted
        start, below = (0, None) if pooling else self._nearest_below(min(wanted), [order.keys[i] for i in block])
        with ExitStack() as stack:
            size = self.num_bytes(lengths, 1)
            drafts = {s: stack.enter_context(order.shelves[s].writer(size)) for s in wanted}
            means_size = self._means_bytes(len(block), order.top)
            means = stack.enter_context(order.means.writer(means_size)) if pooling else None
            for batch in equal_length_batches(lengths, self.base.batch_tokens):
                rows = [block[i] for i in batch]
                entering = below.gather(batch, lengths[batch[0]]) if below is not None else None
                found = self._run([order.token_ids[i] for i in rows], {*keep, *wanted}, start, entering)
                for s, draft in drafts.items():
                    order.put(draft, order.lacking[s], rows, as_array(found[s]))
                if means is not None:
                    order.put(means, order.unpooled, rows, as_array(_pooled(found, order.top)))
                advance(len(rows))

    def _nearest_below(self, state: int, keys: list[bytes]) -> tuple[int, Rows | None]:
        """The highest state under `state` that is on a shelf for all these rows: the run begins there."""
        for lower in range(state - 1, 0, -1):
            if (cache_root() / self._folder(self._about("state", lower, self._dtype))).is_dir():
                shelf = self._shelf("state", lower, self._dtype)
                if not shelf.missing(keys):
                    return lower, shelf.read(keys)
        return 0, None

    def _means_bytes(self, rows: int, top: int) -> int:
        return rows * (top + 1) * self.base.width * torch.float32.itemsize

    def _about(self, kind: Literal["state", "pooled"], state: int, dtype: str) -> ShelfFacts:
        return ShelfFacts(
            base=self.base.name,
            kind=kind,
            state=state,
            dtype=dtype,
            tokenizer_digest=self.base.tokenizer_digest,
            max_length=self.max_length,
        )

    def _folder(self, about: ShelfFacts) -> str:
        below = [*self.base.layer_digests[: about.state + 1], settings_digest(self.base.model, about.state)]
        return f"{weights_digest(below)[:16]}/{about.folder}"

    def _shelf(self, kind: Literal["state", "pooled"], state: int, dtype: str) -> Shelf:
        about = self._about(kind, state, dtype)
        return Shelf(cache_root() / self._folder(about), self.base.width, dtype, self.settings, about=about)

    # --- without

    def _computed(
        self, token_ids: list[list[int]], states: Collection[int], top: int
    ) -> tuple[Tensor, dict[int, Rows], int]:
        lengths = [len(ids) for ids in token_ids]
        fits = self.num_bytes(lengths, len(states)) <= _MEMORY_SHARE * psutil.virtual_memory().available
        shape = (sum(lengths), self.base.width)
        held = {s: np.empty(shape, STORED_AS[self._dtype]) for s in (states if fits else ())}
        starts = [0, *accumulate(lengths)]
        pooled = torch.zeros(len(token_ids), top + 1, self.base.width)
        for batch in equal_length_batches(lengths, self.base.batch_tokens):
            found = self._run([token_ids[i] for i in batch], {*range(top + 1), *held}, 0, None)
            pooled[batch] = _pooled(found, top).cpu()
            for s, array in held.items():
                for row, state in zip(batch, as_array(found[s]), strict=True):
                    array[starts[row] : starts[row + 1]] = state
        packed = {s: Rows.packed(np.array(lengths, np.int64), array, self._dtype) for s, array in held.items()}
        return pooled, packed, len(token_ids)

    def _run(
        self, token_ids: list[list[int]], keep: Collection[int], boundary: int, state: Tensor | None
    ) -> dict[int, Tensor]:
        ids = torch.tensor(token_ids, device=self.base.device)
        entering = None if state is None else state.to(self.base.device)
        with torch.inference_mode():
            return run_states(self.base.model, self.base.anatomy, ids, None, keep, boundary=boundary, state=entering)


def _pooled(states: Mapping[int, Tensor], top: int) -> Tensor:
    """Means over the tokens of states `0 .. top`, none of them padded: (B, top + 1, d), float32."""
    return torch.stack([states[s].float().mean(1) for s in range(top + 1)], 1)


def _blocks(rows: list[int], lengths: list[int], max_tokens: int) -> list[list[int]]:
    """Rows one after the other, cut before a block would have more than so many tokens."""
    blocks: list[list[int]] = [[]]
    tokens = 0
    for row, length in zip(rows, lengths, strict=True):
        if tokens + length > max_tokens and blocks[-1]:
            blocks.append([])
            tokens = 0
        blocks[-1].append(row)
        tokens += length
    return blocks
