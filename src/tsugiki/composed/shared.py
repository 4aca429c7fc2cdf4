"""Several adapters over one pass of the base: what lies below their modules is computed once for all of them.

The base runs clean up to the state by which inputs are recognised. From there each row goes on under the modules that
were chosen for it, rows of all adapters in one batch; adapters that only read states share the clean row. An adapter
whose modules begin below that state starts again from where they begin, with the state that was kept on the way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.adapt.package import Package
from tsugiki.adapt.reader import mean_pool
from tsugiki.base.model import Base
from tsugiki.base.suffix import run_states
from tsugiki.base.tokens import encode, pad
from tsugiki.data.batches import length_batches
from tsugiki.manifest import Placement
from tsugiki.tasks.answering import Answering

Choose = Callable[[Sequence[int], Tensor], Sequence[Mapping[int, Mapping[int, float]]]]
"""For row numbers and their pooled states (R, d): adapters that answer each row, with the weights of the modules."""


class _Unit(NamedTuple):
    """One row on its way up: where it starts, how many tokens it may have, and the modules that act on it."""

    row: int
    start: int
    limit: int
    acting: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Shared:
    """Adapters over one base.

    Args:
        base: the base.
        adapted: the base with the modules of all members, each under its number.
        packages: of the members.
        members: what makes answers of their states.
        state: up to which the base runs clean.
    """

    base: Base
    adapted: AdaptedModel
    packages: Sequence[Package]
    members: Sequence[Answering]
    state: int

    @torch.inference_mode()
    def run(self, texts: Sequence[str], choose: Choose) -> list[dict[int, Tensor]]:
        """Logits of the states (C,) by member, for each text.

        Args:
            texts: to answer.
            choose: who answers which row, once the rows are known that far.
        """
        found: list[dict[int, Tensor]] = [{} for _ in texts]
        longest = max((m.max_length for m in self.members if m.classifier is not None), default=self.base.max_length)
        ids = encode(self.base, texts, longest)
        budget = self.base.batch_tokens
        for rows in length_batches([len(row) for row in ids], budget, budget):
            own = [ids[row] for row in rows]
            clean, mask = self._run(own, self._clean_states())
            pooled = mean_pool(clean[self.state], mask)
            chosen = choose(rows, pooled)
            for at, member, logits in self._answers(own, clean, mask, chosen):
                found[rows[at]][member] = logits
        return found

    def _answers(
        self,
        ids: list[list[int]],
        clean: dict[int, Tensor],
        mask: Tensor,
        chosen: Sequence[Mapping[int, Mapping[int, float]]],
    ) -> Iterator[tuple[int, int, Tensor]]:
        """(row of the batch, member, logits) for all that was chosen."""
        asked: dict[_Unit, list[int]] = {}
        for row, members in enumerate(chosen):
            for member, acting in members.items():
                if self.members[member].classifier is not None:
                    asked.setdefault(self._unit(row, len(ids[row]), member, acting), []).append(member)
        for start in sorted({unit.start for unit in asked}):
            own = {unit: members for unit, members in asked.items() if unit.start == start}
            yield from self._group(ids, clean, mask, start, own)

    def _unit(self, row: int, length: int, member: int, acting: Mapping[int, float]) -> _Unit:
        grafted = {number: weight for number, weight in acting.items() if self._placement(number).modules}
        lowest = min((self._placement(number).boundary for number in grafted), default=self.state)
        limit = self.members[member].max_length
        if length > limit:
            # It never saw more of a row than this, so it cannot share what all of the row came to.
            return _Unit(row, 0, limit, tuple(sorted(grafted.items())))
        return _Unit(row, min(self.state, lowest), length, tuple(sorted(grafted.items())))

    def _group(
        self,
        ids: list[list[int]],
        clean: dict[int, Tensor],
        mask: Tensor,
        start: int,
        asked: Mapping[_Unit, list[int]],
    ) -> Iterator[tuple[int, int, Tensor]]:
        """Answers of units that start at one state, in parts of as many rows as the batch has."""
        units = list(asked)
        for at in range(0, len(units), len(ids)):
            part = units[at : at + len(ids)]
            rows = [unit.row for unit in part]
            wanted = {s for unit in part for m in asked[unit] for s in self._states(m)}
            above = {s for s in wanted if s > start or not start}
            states, seen = {s: clean[s][rows] for s in wanted - above}, mask[rows]
            if above:
                route = [{str(number): weight for number, weight in unit.acting} for unit in part]
                entering = clean[start][rows] if start else None
                with self.adapted.using(route):
                    found, seen = self._run([ids[u.row][: u.limit] for u in part], above, start, entering)
                states = {s: state[:, : seen.shape[1]] for s, state in states.items()} | found
            for member in sorted({m for unit in part for m in asked[unit]}):
                own = [place for place, unit in enumerate(part) if member in asked[unit]]
                stacked = torch.stack([states[s][own] for s in self._states(member)])
                for place, logits in zip(own, self.members[member].of_states(stacked, seen[own]), strict=True):
                    yield rows[place], member, logits.float().cpu()

    def _run(
        self, ids: list[list[int]], keep: set[int], start: int = 0, state: Tensor | None = None
    ) -> tuple[dict[int, Tensor], Tensor]:
        """States of a batch of rows, and its mask."""
        batch, mask = (tensor.to(self.base.device) for tensor in pad(ids))
        if state is not None and state.shape[1] > batch.shape[1]:
            state = state[:, : batch.shape[1]]
        seen = None if bool(mask.all()) else mask
        found = run_states(self.base.model, self.base.anatomy, batch, seen, keep, boundary=start, state=state)
        return found, mask

    def _placement(self, member: int) -> Placement:
        return self.packages[member].manifest.placement

    def _states(self, member: int) -> tuple[int, ...]:
        return self.packages[member].manifest.head.states

    def _clean_states(self) -> set[int]:
        """States that somebody starts from or reads, up to the one by which inputs are recognised."""
        placements = map(self._placement, range(len(self.members)))
        starts = {placement.boundary for placement in placements if placement.modules}
        read = {s for number, member in enumerate(self.members) if member.classifier for s in self._states(number)}
        return {self.state} | {s for s in starts - {0} | read if s <= self.state}
