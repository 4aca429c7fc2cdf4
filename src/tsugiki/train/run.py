"""From rows to an adapter: check, cache, fit heads, race, choose, pack."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tsugiki.adapt.package import Package
from tsugiki.adapt.package_checks import check_base
from tsugiki.base.kernels import lean_kernels
from tsugiki.base.legible import require_legible
from tsugiki.base.model import Base, load_base
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.base.tokens import MAX_LENGTH
from tsugiki.data.checks import check, require_learnable
from tsugiki.data.rows import Rows, Splits
from tsugiki.data.spelling import merged
from tsugiki.data.split import subsample, with_validation
from tsugiki.data.texts import clip
from tsugiki.errors import ConfigError, RowsError
from tsugiki.i18n import notify, text, warn
from tsugiki.placement.plan import STRATEGIES, Plan, head_states
from tsugiki.spec import digest
from tsugiki.tasks.adapter import Adapter
from tsugiki.tasks.task import Task, task_for
from tsugiki.train.candidate import Candidate
from tsugiki.train.choice import best_of
from tsugiki.train.config import Config
from tsugiki.train.continued import continued, with_labels_of
from tsugiki.train.folder import run_folder
from tsugiki.train.heads import head_candidate, joined, words_candidate
from tsugiki.train.loop import Labelled
from tsugiki.train.pack import Packer
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
    splits = merged(splits, _known(config, parent)) if config.data.merge_labels else splits
    require_learnable(splits)
    for finding in check(splits):
        warn(finding.code, **finding.facts)
    train, held = _sampled(splits, config)
    task = task_for(train, config.data)
    if parent is not None:
        task = with_labels_of(parent, task, train)
    # What was found out is kept, so that rows to be evaluated are read alike.
    config = config.model_copy(update={"data": config.data.model_copy(update={"task": task.kind})})
    base = open_base(config)
    if parent is not None:
        check_base(parent, base)
    plans = _plans(base, config) if parent is None else continued(parent, task)
    if not len(held):
        if parent is not None:
            raise RowsError("train.nothing_to_go_on_by", rows=len(train))
        warn("train.no_validation")
        plans = []
    with lean_kernels(base.dtype):
        packer = _packer(task, train, held, base, plans, config, parent)
        candidates: list[Candidate] = []
        with run_folder(_key(train, held, base, config, parent)) as folder:
            for candidate in _race(packer, held, plans, folder):
                candidates.append(candidate)
                notify(
                    "train.candidate", variant=candidate.variant, score=100 * candidate.score, seconds=candidate.train_s
                )
                if candidate.score >= _ENOUGH:
                    break
            seconds = _seconds(candidates, packer.train.rows.cache_s)
            winner = best_of(candidates, task, packer.held.targets)
            adapter = packer.adapter(winner, candidates, seconds)
    curve = _curve(candidates, seconds["cache"], winner.score)
    return Trained(adapter, candidates, seconds, curve, _verdict(winner, candidates), packer)


def _known(config: Config, parent: Package | None) -> tuple[str, ...]:
    """Spellings of labels that hold whatever the rows say."""
    return config.data.grades or (tuple(parent.manifest.task["labels"]) if parent is not None else ())


def open_base(config: Config) -> Base:
    """The base of a run, in the precision of this machine."""
    return load_base(config.base, precision=config.precision)


def _sampled(splits: Splits, config: Config) -> tuple[Rows, Rows]:
    """Training rows, at most as many as wanted, and validation rows."""
    splits = with_validation(splits, share=config.data.validation_share, seed=config.train.seed)
    train = splits.train
    assert train is not None and train.labels is not None
    wanted = config.train.max_rows
    if wanted is not None and wanted < len(train):
        few = train.take(subsample(train.strata, wanted, config.train.seed))
        if len(set(few.labels or ())) < 2:
            raise ConfigError("train.max_rows", found=wanted, classes=len(train.classes))
        train = few
    return train, splits.validation or Rows((), (), train.several)


def _plans(base: Base, config: Config) -> list[Plan]:
    placement = config.placement.model_dump(mode="json")
    strategy = STRATEGIES.parse({"kind": placement.pop("strategy"), **placement})
    return strategy.plans(base.anatomy)


def _packer(
    task: Task, train: Rows, held: Rows, base: Base, plans: list[Plan], config: Config, parent: Package | None
) -> Packer:
    """Cache what the plans need; the clock holds the training rows, since validation passes are not counted."""
    max_length = min(config.data.max_length or MAX_LENGTH, base.max_length)
    require_legible(base, train.texts, max_length, force=config.data.illegible == "warn")
    cache = PrefixCache(base, max_length, config.cache)
    top = config.placement.exit or base.num_layers
    # States that are read once cost more to keep than to compute.
    kept = plans if config.train.epochs != 1 else []
    wanted = {state for plan in kept for state in _tokens_needed(plan)}

    def states(rows: Rows) -> Labelled:
        return Labelled(cache.rows(rows.texts, wanted, top), task.targets(rows.labels or ()), task)

    learnt = states(train)
    cut = sum(length == max_length for length in learnt.rows.lengths)
    if cut:
        warn("train.cut", rows=cut, max_length=max_length)
    return Packer(config, base, task, max_length, train, learnt, states(held), parent)


def _tokens_needed(plan: Plan) -> tuple[int, ...]:
    boundary = min((graft.layer for graft in plan.grafts), default=None)
    if boundary is None:
        return plan.states
    return (boundary,) if boundary else ()


def _key(train: Rows, held: Rows, base: Base, config: Config, parent: Package | None) -> str:
    """What decides the outcome: the same settings, rows, base and parent find a run again that was killed."""
    settings = config.model_dump(mode="json", exclude={"name", "licence", "usage_terms", "cache"})
    return digest([settings, train.digest(), held.digest(), base.digest, str(base.dtype), parent and parent.digest])[
        :16
    ]


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
    for plan in plans:
        if not _worth(plan, head, found, packer.held):
            continue
        candidate = track.run(plan, head.start, leader)
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
    key = {"words": "train.words_enough", "head": "train.head_enough", "head + words": "train.head_enough"}
    plain = [c.score for c in candidates if c.variant in key and c is not winner]
    dearer = [c.score for c in candidates if c is not winner]
    grafted = winner.variant not in key
    return text(
        key.get(winner.variant, "train.modules_won"),
        variant=winner.variant,
        score=100 * winner.score,
        rest=100 * max(plain if grafted else dearer, default=0.0),
    )
