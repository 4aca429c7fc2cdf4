"""What is tried, in which order, and what is not worth a trial."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from tsugiki.data.rows import Rows
from tsugiki.data.texts import clip
from tsugiki.i18n import notify
from tsugiki.manifest import Control
from tsugiki.placement.plan import Plan, head_states
from tsugiki.train.candidate import Candidate
from tsugiki.train.choice import best_of
from tsugiki.train.config import PlacementSettings
from tsugiki.train.crossed import MOST_ROWS, crossed_head
from tsugiki.train.grouping import Setup
from tsugiki.train.head import LinearHead
from tsugiki.train.heads import head_candidate, joined, words_candidate
from tsugiki.train.heat import Heat
from tsugiki.train.pack import Packer
from tsugiki.train.shortcut import behind_words
from tsugiki.train.track import Track

# A head that fits its own rows so much better than others has little to hand on: a fresh one is tried as well.
_UNCLEAR = 0.15


@dataclass
class Race:
    """Candidates of one run.

    Args:
        packer: what they have in common.
        held: validation rows.
        plans: that are trained in steps, cheapest first.
        folder: where they are kept until the run is over.
        found: what was tried so far.
        controls: how the choice of a placement did beside each control, when the race is over.
    """

    packer: Packer
    held: Rows
    plans: Sequence[Plan]
    folder: Path
    found: list[Candidate] = field(default_factory=list)
    controls: tuple[Control, ...] = ()

    def run(self) -> Iterator[Candidate]:
        """From the cheapest to the dearest to answer with, each with the words beside it where they help."""
        if not len(self.held):
            yield head_candidate(self.packer.train, self.packer.held, head_states(self._exit))
            return
        if self._is_luck:
            notify("train.few_held", rows=self._num_rows, most=MOST_ROWS)
            seed = self.packer.config.train.seed
            yield crossed_head(self.packer.train, self.packer.held, head_states(self._exit), seed)
            return
        if self._words:
            yield from self._tried(self._words)
        if self._enough is not None:
            yield from self._lower_heads(self._enough)
        yield from self._tried(self._head, self._with_words(self._head))
        leader = max(candidate.score for candidate in self.found)
        for plan in self.plans:
            if not plan.abreast and self._is_worth(plan):
                yield from self._lower_head(plan)
                candidate = self._track.run(plan, self._start(plan), leader)
                leader = max(leader, candidate.score)
                yield from self._tried(candidate, self._with_words(candidate))
        abreast = [plan for plan in self.plans if plan.abreast and self._is_worth(plan)]
        for plan in abreast:
            yield from self._lower_head(plan)
        if abreast:
            raced, self.controls = Heat(self._track, abreast, self._start, leader).run()
            for candidate in raced:
                yield from self._tried(candidate, self._with_words(candidate))
        if self._enough is not None and self._words is not None:
            yield from self._shortcuts(self._words, self._enough)

    @property
    def _is_luck(self) -> bool:
        """Whether there are too few rows to tell candidates apart, and nobody said what is to be tried."""
        config, packer = self.packer.config, self.packer
        asked = packer.parent is not None or any(plan.grouped for plan in self.plans) or self._enough is not None
        return self._num_rows <= MOST_ROWS and config.placement == PlacementSettings() and not asked

    @property
    def _num_rows(self) -> int:
        return len(self.packer.rows) + len(self.held)

    # --- what needs no steps

    @cached_property
    def _words(self) -> Candidate | None:
        packer = self.packer
        if not packer.config.train.words:
            return None
        # As they are clipped when they are answered.
        texts, held = ([clip(text, packer.max_length) for text in rows.texts] for rows in (packer.rows, self.held))
        return words_candidate(texts, packer.train, held, packer.held, packer.config.train.seed)

    @cached_property
    def _head(self) -> Candidate:
        return head_candidate(self.packer.train, self.packer.held, head_states(self._exit))

    def _lower_heads(self, enough: float) -> Iterator[Candidate]:
        """Heads under lower exits, until one is good enough."""
        for exit in range(1, self._exit):
            if any(candidate.score >= enough for candidate in self.found):
                return
            yield from self._tried(self._head_under(exit))

    def _lower_head(self, plan: Plan) -> Iterator[Candidate]:
        """The head that a plan under a lower exit starts from, where it was not tried yet."""
        if not plan.params and self._start(plan) is None:
            yield from self._tried(self._head_under(max(plan.states)))

    def _shortcuts(self, words: Candidate, enough: float) -> Iterator[Candidate]:
        """What is good enough, once more with the words before it."""
        for candidate in [c for c in self.found if c.placement.exit and c.score >= enough]:
            yield from self._tried(behind_words(candidate, words, self.packer.held, enough))

    def _head_under(self, exit: int) -> Candidate:
        found = head_candidate(self.packer.train, self.packer.held, head_states(exit))
        return replace(found, variant=f"head of {exit}")

    def _with_words(self, candidate: Candidate) -> Candidate | None:
        return joined(candidate, self._words, self.packer.held)

    # --- what is trained in steps

    @cached_property
    def _track(self) -> Track:
        packer = self.packer
        groups = Setup(packer.base, packer.config.routing, packer.domains)
        return Track(packer.base, packer.train, packer.held, packer.config.train, self.folder, packer.costs, groups)

    def _start(self, plan: Plan) -> LinearHead | None:
        return next((c.start for c in self.found if c.start is not None and c.head.states == plan.states), None)

    def _is_worth(self, plan: Plan) -> bool:
        """Whether a plan is tried.

        Groups always are, since somebody asked for them: what they add is what is to be known.
        A fresh one where the head fits too closely, a shorter suffix where the longer leads, and nothing that runs more
        layers than what is good enough.
        """
        if plan.grouped:
            return True
        if not plan.warm and self._head.gap < _UNCLEAR:
            return False
        if self._enough is not None:
            done = [c.placement.exit for c in self.found if c.score >= self._enough]
            lowest = min(done, default=self._exit + 1)
            # With words before it what is better than good enough is run for fewer rows.
            return max(plan.states) <= lowest if self._words else max(plan.states) < lowest
        tried = any(candidate.placement.modules for candidate in self.found)
        return not plan.grafts or not tried or self._leads_with_modules

    @property
    def _leads_with_modules(self) -> bool:
        held = self.packer.held
        return bool(best_of(self.found, held.task, held.targets).placement.modules)

    # --- what was found

    def _tried(self, *candidates: Candidate | None) -> Iterator[Candidate]:
        for candidate in candidates:
            if candidate is not None:
                self.found.append(candidate)
                yield candidate

    @property
    def _enough(self) -> float | None:
        return self.packer.config.budget.min_score

    @property
    def _exit(self) -> int:
        return self.packer.config.placement.exit or self.packer.base.num_layers
