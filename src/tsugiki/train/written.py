"""Prompts with their answers as rows to learn from: only the tokens of answers are supervised."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tsugiki.base.prefix_cache import CachedRows, PrefixCache
from tsugiki.data.batches import length_batches
from tsugiki.writing.wording import Wording

if TYPE_CHECKING:
    from tsugiki.train.scribe import Scribe


@dataclass
class WrittenRows(CachedRows):
    """Tokens of prompts and answers, one after the other, with the states that the cache keeps.

    Args:
        starts: place of the first token of each answer.
    """

    starts: Sequence[int] = ()

    @property
    def num_supervised(self) -> int:
        """Tokens of all answers."""
        return sum(len(ids) - start for ids, start in zip(self.token_ids, self.starts, strict=True))


@dataclass(frozen=True)
class Written:
    """Rows to learn to write from.

    Args:
        rows: with their states (N).
        cut_prompts: rows whose input was cut.
        cut_answers: rows whose answer was cut, and so has no end.
    """

    rows: WrittenRows
    cut_prompts: int = 0
    cut_answers: int = 0

    @classmethod
    def of(
        cls,
        cache: PrefixCache,
        wording: Wording,
        sources: Sequence[str],
        targets: Sequence[str],
        states: Collection[int],
    ) -> "Written":
        """Rows with the states asked for."""
        prompts = [wording.prompt(source) for source in sources]
        answers = [wording.target(target) for target in targets]
        ids = [[*prompt, *answer] for (prompt, _), (answer, _) in zip(prompts, answers, strict=True)]
        found = cache.written(ids, states)
        own = {field.name: getattr(found, field.name) for field in fields(found)}
        rows = WrittenRows(**own, starts=[len(prompt) for prompt, _ in prompts])
        return cls(rows, sum(cut for _, cut in prompts), sum(cut for _, cut in answers))

    def losses(self, found: Tensor, indices: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Of some rows: what a scribe finds are their losses already, (B,)."""
        return found

    @torch.no_grad()
    def measure(self, scribe: "Scribe") -> tuple[float, float]:
        """Probability of a token of the answers in the geometric mean (0..1), and the mean loss of a token in nats."""
        total = sum(self.row_losses(scribe).tolist())
        loss = total / self.rows.num_supervised
        return math.exp(-loss), loss

    @torch.no_grad()
    def row_losses(self, scribe: "Scribe") -> Tensor:
        """Loss of each whole answer in nats, (N,)."""
        scribe.set_training(None)
        rows, out = self.rows, torch.zeros(len(self.rows))
        for batch in length_batches(rows.lengths, rows.base.batch_tokens, rows.base.batch_tokens):
            out[batch] = scribe.row_losses(rows, batch).float().cpu()
        return out
