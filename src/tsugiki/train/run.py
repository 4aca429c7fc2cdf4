"""From rows to an adapter: check, cache, fit heads, race, choose, pack."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tsugiki.adapt.package import Package
from tsugiki.base.kernels import lean_kernels
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.data.rows import Rows, Splits
from tsugiki.data.texts import clip
from tsugiki.i18n import notify, text, warn
from tsugiki.placement.plan import Plan, head_states
from tsugiki.tasks.adapter import Adapter
from tsugiki.train.candidate import Candidate
from tsugiki.train.choice import best_of
from tsugiki.train.config import Config
from tsugiki.train.folder import run_folder
from tsugiki.train.heads import head_candidate, joined, words_candidate
from tsugiki.train.loop import Labelled
from tsugiki.train.pack import Packer
from tsugiki.train.planning import plans_of
from tsugiki.train.prepare import Prepared, prepare
from tsugiki.train.race import Track
from tsugiki.train.trackers import require_trackers

# Above this validation could not show what modules add.
_ENOUGH = 0.995
# A head that fits its own rows so much better than others has little to hand on: a fresh one is tried as well.
_UNCLEAR = 0.15


@dataclass
class Trained:
    """An adapter and how it came about.

    Args:
        adapter: the best candidate, ready to answer.
        candidates: all that were tried, in the order in which they ran.
        seconds: `cache`, each candidate by variant, and `total`; validation passes are not counted.
        curve: (seconds since the start, best score on validation so far, but not above that of the winner, which
            is chosen by another measure); cache, head and every candidate count.
        verdict: what was enough, as a sentence.
        packer: makes any candidate an adapter.
    """

    adapter: Adapter
    candidates: list[Candidate]
    seconds: dict[str, float]
    curve: list[tuple[float, float]]
    verdict: str
    packer: Packer = field(repr=False)

    @property
    def predicted_s(self) -> float:
        """Seconds of the stepped candidates as their first steps foretold them."""
        return sum(c.predicted_s for c in self.candidates if not _is_joined(c))

    @property
    def measured_s(self) -> float:
        """Seconds of the same candidates as measured."""
        return sum(c.train_s for c in self.candidates if c.predicted_s and not _is_joined(c))

    @property
    def saved_s(self) -> float:
        """Seconds that the cache spared: what its layers would have taken in every pass over the rows but the first."""
        top = max((c.placement.exit for c in self.candidates), default=0)
        passes = sum((len(c.curve) - 1) * c.placement.boundary / top for c in self.candidates if c.predicted_s)
        return max(0.0, passes - 1) * self.seconds["cache"]

    def adapter_of(self, candidate: Candidate) -> Adapter:
        """Any candidate as an adapter; close it when it is no longer needed."""
        return self.packer.adapter(candidate, self.candidates, self.seconds)


def train_adapter(splits: Splits, config: Config, parent: Package | None = None) -> Trained:
    """Train an adapter.

    Args:
        splits: rows; validation is split off where there is none.
        config: all settings.
        parent: package to go on from, whose labels stay and whose placement is kept.

    Raises:
        RowsError: the rows cannot be learnt from.
        MissingError: the base is not there.
        BaseModelError: the base cannot be grafted on.
        ConfigError: placement and base do not fit, or a tracker is not installed.
        TrainingError: the loss is not a number.
        PackageError: the package to go on from is of another base.
    """
    require_trackers(config.train.trackers)
    ready = prepare(splits, config, parent)
    candidates: list[Candidate] = []
    with lean_kernels(ready.base.dtype), run_folder(ready.key) as folder:
        plans = plans_of(ready, folder)
        packer = _packer(ready, plans)
        for candidate in _race(packer, ready.held, plans, folder):
            candidates.append(candidate)
            notify("train.candidate", variant=candidate.variant, score=100 * candidate.score, seconds=candidate.train_s)
            if candidate.score >= _ENOUGH:
                break
        seconds = _seconds(candidates, packer.train.rows.cache_s)
        winner = best_of(candidates, ready.task, packer.held.targets)
        adapter = packer.adapter(winner, candidates, seconds)
    curve = _curve(candidates, seconds["cache"], winner.score)
    return Trained(adapter, candidates, seconds, curve, _verdict(winner, candidates), packer)


def _packer(ready: Prepared, plans: list[Plan]) -> Packer:
    """Cache what the plans need; the clock holds the training rows, since validation passes are not counted."""
    config, base, task = ready.config, ready.base, ready.task
    cache = PrefixCache(base, ready.max_length, config.cache)
    top = config.placement.exit or base.num_layers
    # States that are read once cost more to keep than to compute.
    kept = plans if config.train.epochs != 1 else []
    wanted = {state for plan in kept for state in _tokens_needed(plan)}

    def states(rows: Rows) -> Labelled:
        return Labelled(cache.rows(rows.texts, wanted, top), task.targets(rows.labels or ()), task)

    learnt = states(ready.train)
    cut = sum(length == ready.max_length for length in learnt.rows.lengths)
    if cut:
        warn("train.cut", rows=cut, max_length=ready.max_length)
    return Packer(config, base, task, ready.max_length, ready.train, learnt, states(ready.held), ready.parent)


def _tokens_needed(plan: Plan) -> tuple[int, ...]:
    boundary = min((graft.layer for graft in plan.grafts), default=None)
    if boundary is None:
        return plan.states
    return (boundary,) if boundary else ()


def _race(packer: Packer, held: Rows, plans: list[Plan], folder: Path) -> Iterator[Candidate]:
    """Candidates from the cheapest to the dearest to answer with, each with the words beside it where they help."""
    train, seed = packer.train, packer.config.train.seed
    exit = packer.config.placement.exit or packer.base.num_layers
    if not len(held):
        yield head_candidate(train, packer.held, head_states(exit))
        return
    words = None
    if packer.config.train.words:
        # As they are clipped when they are answered.
        texts, held_texts = ([clip(text, packer.max_length) for text in rows.texts] for rows in (packer.rows, held))
        words = words_candidate(texts, train, held_texts, packer.held, seed)
        yield words
    head = head_candidate(train, packer.held, head_states(exit))
    yield head
    found = [candidate for candidate in (words, head) if candidate]
    if both := joined(head, words, packer.held):
        found.append(both)
        yield both
    track = Track(packer.base, train, packer.held, packer.config.train, folder)
    leader = max(candidate.score for candidate in found)
    starts = {head.head.states: head.start}
    for plan in plans:
        if not _worth(plan, head, found, packer.held):
            continue
        if plan.states not in starts and not plan.params:
            lower = replace(head_candidate(train, packer.held, plan.states), variant=f"head of {max(plan.states)}")
            starts[plan.states] = lower.start
            found.append(lower)
            yield lower
        candidate = track.run(plan, starts.get(plan.states), leader)
        leader = max(leader, candidate.score)
        for more in (candidate, joined(candidate, words, packer.held)):
            if more is not None:
                found.append(more)
                yield more


def _worth(plan: Plan, head: Candidate, found: list[Candidate], held: Labelled) -> bool:
    """Whether a plan is tried: a fresh one where the head fits too closely, a shorter suffix where the longer leads."""
    if not plan.warm and head.gap < _UNCLEAR:
        return False
    tried = any(candidate.placement.modules for candidate in found)
    leads = bool(best_of(found, held.task, held.targets).placement.modules)
    return not plan.grafts or not tried or leads


def _seconds(candidates: list[Candidate], cache_s: float) -> dict[str, float]:
    seconds = {"cache": cache_s} | {c.variant: c.train_s for c in candidates if not _is_joined(c)}
    return seconds | {"total": sum(seconds.values())}


def _curve(candidates: list[Candidate], cache_s: float, most: float) -> list[tuple[float, float]]:
    clock, best = cache_s, 0.0
    curve = [(0.0, 0.0)]
    for candidate in candidates:
        for seconds, score in candidate.curve:
            best = max(best, min(score, most))
            curve.append((clock + (0.0 if _is_joined(candidate) else seconds), best))
        clock += 0.0 if _is_joined(candidate) else candidate.train_s
    return curve


def _is_joined(candidate: Candidate) -> bool:
    """Whether all its work was done by two candidates before it."""
    return candidate.variant.endswith("+ words")


def _verdict(winner: Candidate, candidates: list[Candidate]) -> str:
    if math.isnan(winner.score):
        return text("train.no_validation")
    if winner.score >= _ENOUGH and winner is candidates[-1]:
        return text("train.enough", variant=winner.variant, score=100 * winner.score)
    key = _verdict_on(winner)
    grafted = key == "train.modules_won"
    plain = [c.score for c in candidates if _verdict_on(c) != "train.modules_won" and c is not winner]
    dearer = [c.score for c in candidates if c is not winner]
    return text(
        key,
        variant=winner.variant,
        score=100 * winner.score,
        rest=100 * max(plain if grafted else dearer, default=0.0),
    )


def _verdict_on(candidate: Candidate) -> str:
    """What is to be said where it wins."""
    if candidate.variant == "words":
        return "train.words_enough"
    return "train.head_enough" if candidate.variant.startswith("head") else "train.modules_won"
