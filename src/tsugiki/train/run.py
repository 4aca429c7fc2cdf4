"""From rows to an adapter: check, cache, fit heads, race, choose, pack."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from tsugiki.adapt.package import Package
from tsugiki.base.kernels import lean_kernels
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.data.rows import Rows, Splits
from tsugiki.i18n import notify, text, warn
from tsugiki.placement.plan import Plan
from tsugiki.tasks.adapter import Adapter
from tsugiki.train.candidate import Candidate
from tsugiki.train.choice import best_of
from tsugiki.train.config import Config
from tsugiki.train.crossed import ALL_ROWS
from tsugiki.train.domains import domains_in, places_of
from tsugiki.train.folder import run_folder
from tsugiki.train.loop import Labelled
from tsugiki.train.pack import Packer
from tsugiki.train.planning import Lineup, lineup_of
from tsugiki.train.prepare import Prepared, prepare
from tsugiki.train.race import Race
from tsugiki.train.shortcut import FIRST
from tsugiki.train.trackers import require_trackers

# Above this validation could not show what modules add.
_ENOUGH = 0.995


@dataclass
class Trained:
    """An adapter and how it came about.

    Args:
        adapter: the best candidate, ready to answer.
        candidates: all that were tried, in the order in which they ran.
        seconds: `survey` where placements were chosen, `cache`, each candidate by variant, and `total`; validation
            passes are not counted.
        curve: (seconds since the start, best score on validation so far, but not above that of the winner, which
            is chosen by another measure); survey, cache, head and every candidate count.
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
    with lean_kernels(ready.base.dtype), run_folder(ready.key) as folder:
        return train_lineup(ready, lineup_of(ready, folder), folder)


def train_lineup(ready: Prepared, lineup: Lineup, folder: Path) -> Trained:
    """Train the plans of a lineup beside head and words.

    Args:
        ready: rows, task, base and settings.
        lineup: what is trained in steps.
        folder: where candidates are kept until the run is over.

    Raises:
        TrainingError: the loss is not a number.
    """
    candidates: list[Candidate] = []
    packer = _packer(ready, lineup)
    race = Race(packer, ready.held, lineup.plans, folder)
    for candidate in race.run():
        candidates.append(candidate)
        notify("train.candidate", variant=candidate.variant, score=100 * candidate.score, seconds=candidate.train_s)
        if candidate.routing is not None and candidate.routing.domains:
            shares = {name: 100 * value for name, value in candidate.routing.metrics.items()}
            notify("train.domains", **shares, domains=len(candidate.routing.domains))
        if candidate.score >= _ENOUGH:
            break
    packer = replace(packer, controls=race.controls)
    survey = {"survey": lineup.seconds} if lineup.seconds else {}
    seconds = _seconds(candidates, survey | {"cache": packer.train.rows.cache_s})
    enough = ready.config.budget.min_score
    winner = best_of(candidates, ready.task, packer.held.targets, enough)
    if enough is not None and not winner.score >= enough:
        warn("train.not_enough", wanted=100 * enough, score=100 * winner.score)
    adapter = packer.adapter(winner, candidates, seconds)
    curve = _curve(candidates, lineup.seconds + seconds["cache"], winner.score)
    return Trained(adapter, candidates, seconds, curve, _verdict(winner, candidates), packer)


def _packer(ready: Prepared, lineup: Lineup) -> Packer:
    """Cache what the plans need; the clock holds the training rows, since validation passes are not counted."""
    config, base, task = ready.config, ready.base, ready.task
    cache = PrefixCache(base, ready.max_length, config.cache)
    top = config.placement.exit or base.num_layers
    # States that are read once cost more to keep than to compute.
    kept = lineup.plans if config.train.epochs != 1 else []
    wanted = {state for plan in kept for state in _tokens_needed(plan)}

    named = domains_in(ready.train)

    def states(rows: Rows) -> Labelled:
        targets, domains = task.targets(rows.labels or ()), places_of(rows.domains, named, len(rows))
        return Labelled(cache.rows(rows.texts, wanted, top), targets, task, domains)

    learnt = states(ready.train)
    cut = sum(length == ready.max_length for length in learnt.rows.lengths)
    if cut:
        warn("train.cut", rows=cut, max_length=ready.max_length)
    held = states(ready.held)
    return Packer(
        config, base, task, ready.max_length, ready.train, learnt, held, ready.parent, lineup.costs, domains=named
    )


def _tokens_needed(plan: Plan) -> tuple[int, ...]:
    boundary = min((graft.layer for graft in plan.grafts), default=None)
    if boundary is None:
        return plan.states
    return (boundary,) if boundary else ()


def _seconds(candidates: list[Candidate], before: dict[str, float]) -> dict[str, float]:
    seconds = before | {c.variant: c.train_s for c in candidates if not _is_joined(c)}
    return seconds | {"total": sum(seconds.values())}


def _curve(candidates: list[Candidate], clock: float, most: float) -> list[tuple[float, float]]:
    best = 0.0
    curve = [(0.0, 0.0)]
    for candidate in candidates:
        for seconds, score in candidate.curve:
            best = max(best, min(score, most))
            curve.append((clock + (0.0 if _is_joined(candidate) else seconds), best))
        clock += 0.0 if _is_joined(candidate) else candidate.train_s
    return curve


def _is_joined(candidate: Candidate) -> bool:
    """Whether all its work was done by candidates before it."""
    return candidate.variant.endswith("+ words") or candidate.variant.startswith(FIRST)


def _verdict(winner: Candidate, candidates: list[Candidate]) -> str:
    if math.isnan(winner.score):
        return text("train.no_validation")
    if winner.variant == ALL_ROWS:
        return text("train.of_all_rows", score=100 * winner.score)
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
    return "train.head_enough" if candidate.variant.removeprefix(FIRST).startswith("head") else "train.modules_won"
