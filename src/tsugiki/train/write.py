"""From rows to a writer: check, find the end marker, cache, race placements, choose, pack."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.adapt.package import Package
from tsugiki.adapt.package_checks import check_base, facts_of, require_ungrouped
from tsugiki.adapt.reader import READERS
from tsugiki.adapt.statistics import statistics_of
from tsugiki.adapt.tensors import part
from tsugiki.base.kernels import lean_kernels
from tsugiki.base.legible import require_legible
from tsugiki.base.model import Base, load_base
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.base.vocabulary import Vocabulary
from tsugiki.data.rows import Rows, Splits
from tsugiki.data.split import stratified_split
from tsugiki.data.texts import NORMALISED, clip
from tsugiki.errors import ConfigError, PackageError, RowsError
from tsugiki.i18n import notify, text, warn
from tsugiki.manifest import DataFacts, HeadFacts, Manifest, Placement
from tsugiki.placement.budget import Budget
from tsugiki.placement.plan import Informed, Plan
from tsugiki.spec import digest
from tsugiki.train.checkpoint import Checkpoint
from tsugiki.train.config import Config
from tsugiki.train.folder import run_folder
from tsugiki.train.learner import NAME
from tsugiki.train.loop import Fit, batches_of, fit, num_passes
from tsugiki.train.planning import strategy_of
from tsugiki.train.scribe import Scribe
from tsugiki.train.trackers import require_trackers
from tsugiki.train.written import Written
from tsugiki.writing.marker import end_token, named_token
from tsugiki.writing.wording import Wording, asked, plain_tokens
from tsugiki.writing.writer import Writer
from tsugiki.writing.writing import WRITINGS, Writing

# Of the context, where nothing else is said; of that, answers have half at most.
MAX_LENGTH = 512
# Rows behind which the end marker is looked for, and whose prompts are described for routing.
_ASKED, _DESCRIBED = 64, 2_000
_FEWEST = 4
# Where nobody says another number: a step for each eight rows learns as much in the same time as one for each 32 in
# more; `explanation/measurements` has the figures.
_BATCH_ROWS = 8


@dataclass(frozen=True)
class Placed:
    """A placement that was trained.

    Args:
        variant: its name.
        fit: how its run went.
        tensors: of its modules, named as in a package.
        placement: where they stand.
    """

    variant: str
    fit: Fit
    tensors: dict[str, Tensor]
    placement: Placement

    def facts(self) -> dict[str, object]:
        """What the manifest and the bill say of it."""
        return {
            "variant": self.variant,
            "score": round(self.fit.score, 4),
            "loss": round(self.fit.loss, 4),
            "train_s": round(self.fit.train_s, 3),
            "predicted_s": round(self.fit.predicted_s, 3),
            "num_trainable": sum(tensor.numel() for tensor in self.tensors.values()),
        }


@dataclass
class TrainedWriter:
    """A writer and how it came about; see `Trained` for what these are.

    Args:
        adapter: the writer.
        candidates: placements that were tried.
        seconds: by what they were spent on, and `total`.
        curve: (seconds since the start, best probability of a token on validation so far).
        verdict: as a sentence.
    """

    adapter: Writer
    candidates: list[Placed]
    seconds: dict[str, float]
    curve: list[tuple[float, float]] = field(default_factory=list)
    verdict: str = ""

    @property
    def predicted_s(self) -> float:
        """Seconds of all candidates as their first steps foretold them."""
        return sum(placed.fit.predicted_s for placed in self.candidates)

    @property
    def measured_s(self) -> float:
        """The same as measured."""
        return sum(placed.fit.train_s for placed in self.candidates)

    @property
    def saved_s(self) -> float:
        """Seconds that the cache spared: what its layers would have taken in every pass over the rows but the first."""
        top = self.adapter.manifest.base.num_layers
        passes = sum((len(placed.fit.curve) - 1) * placed.placement.boundary / top for placed in self.candidates)
        return max(0.0, passes - 1) * self.seconds["cache"]


def train_writer(splits: Splits, config: Config, parent: Package | None = None) -> TrainedWriter:
    """Train modules on rows with a source and a target.

    Args:
        splits: rows, whose labels are the targets; validation is split off where there is none.
        config: all settings.
        parent: package to go on from, whose placement is kept.

    Raises:
        RowsError: there are too few rows, or a target is empty.
        MissingError: the base is not there.
        BaseModelError: the base cannot write.
        ConfigError: no end marker, a prompt that has no room, or a wrong setting.
        TrainingError: the loss is not a number.
        PackageError: the package to go on from is of another base, or has groups of modules.
    """
    require_trackers(config.train.trackers)
    _require_known(config, parent)
    if "batch_rows" not in config.train.model_fields_set:
        config = config.model_copy(update={"train": config.train.model_copy(update={"batch_rows": _BATCH_ROWS})})
    writing = WRITINGS.parse({"kind": config.data.task, **config.writing.model_dump(include={"prompt", "metric"})})
    train, held = _parts(splits, config)
    base = load_base(config.base, precision=config.precision, head=True)
    vocabulary = Vocabulary(base)
    for texts in (train.texts, train.labels or ()):
        require_legible(base, texts, base.max_length, force=config.data.illegible == "warn")
    wording = wording_of(base, writing, train, config)
    if parent is not None:
        check_base(parent, base)
    plans = _plans(config, base) if parent is None else [_again(parent)]
    key = digest([config.model_dump(mode="json", exclude={"name", "licence", "usage_terms", "cache"})])
    parts = (train.digest(), held.digest(), base.digest, str(base.dtype), parent and parent.digest)
    with lean_kernels(base.dtype), run_folder(digest([key, *parts])[:16]) as folder:
        return _Run(config, base, vocabulary, wording, plans, train, held, folder, parent).trained()


def wording_of(base: Base, writing: Writing, train: Rows, config: Config) -> Wording:
    """How a base is asked, from the rows that it is to learn.

    Raises:
        ConfigError: no end marker is known, or the prompt leaves no room.
    """
    longest = min(config.data.max_length or MAX_LENGTH, base.max_length)
    targets = [plain_tokens(base, target) for target in train.labels or ()]
    wanted = config.writing.max_new or min(longest // 2, max(map(len, targets)) + 1)
    if config.writing.end is not None:
        end = named_token(base, config.writing.end)
    else:
        step = max(1, len(train) // _ASKED)
        finished = [
            [*asked(base, writing, clip(source, longest)), *target][-longest:]
            for source, target in zip(train.texts[::step], targets[::step], strict=True)
        ]
        end = end_token(base, finished)
        notify("writing.end", token=base.tokenizer.convert_ids_to_tokens(end))
    return Wording(base, writing, end, longest - wanted, wanted)


def _parts(splits: Splits, config: Config) -> tuple[Rows, Rows]:
    """Training and validation rows, all with a target."""
    train = splits.train
    if train is None or train.labels is None or len(train) < _FEWEST:
        raise RowsError("writing.few_rows", found=0 if train is None else len(train), allowed=_FEWEST)
    if splits.validation is None:
        share = config.data.validation_share
        kept, out = stratified_split([""] * len(train), share, config.train.seed, groups=train.texts)
        train, splits = train.take(kept), replace(splits, validation=train.take(out))
    held = splits.validation
    assert held is not None
    if not len(held):
        raise RowsError("writing.few_rows", found=len(train), allowed=_FEWEST)
    if config.train.max_rows is not None and config.train.max_rows < len(train):
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(config.train.seed))
        train = train.take(sorted(order[: config.train.max_rows].tolist()))
    return train, held


def _require_known(config: Config, parent: Package | None) -> None:
    """Refuse settings that adapters that write take no notice of yet, and a package without a module to go on from.

    Raises:
        ConfigError: one of them is set.
        PackageError: the package has no modules.
    """
    unknown = {
        "budget": config.budget != Budget(),
        "routing.anonymous": bool(config.routing.anonymous),
        "data.domains": config.data.domains is not None,
        "data.pair": config.data.pair is not None,
        "placement.exit": config.placement.exit is not None,
    }
    if found := [name for name, given in unknown.items() if given]:
        raise ConfigError("writing.unknown_setting", found=", ".join(found))
    if parent is not None and not parent.grafts:
        raise PackageError("package.not_trained_here", package=parent.manifest.name)


def _plans(config: Config, base: Base) -> list[Plan]:
    """Placements to try, from the highest boundary to the lowest."""
    strategy = strategy_of(config)
    if isinstance(strategy, Informed):
        raise ConfigError("writing.no_strategy", found=strategy.kind)
    if config.placement.strategy != "race":
        return [plan for plan in strategy.plans(base.anatomy) if plan.grafts]
    last = base.num_layers
    boundaries = sorted({last - max(1, last // 3), last // 2, 0}, reverse=True)
    if config.placement.boundary is not None:
        boundaries = [config.placement.boundary]
    return [strategy.suffix(base.anatomy, boundary) for boundary in boundaries]


def _again(parent: Package) -> Plan:
    """The placement of a package as a plan that starts from its modules."""
    require_ungrouped(parent, "train --from")
    variant = parent.manifest.variant.removesuffix(" again") + " again"
    tensors = {name: tensor for name, tensor in parent.tensors.items() if name.startswith("modules.")}
    reader, states = READERS.parse({"kind": "mean"}), (parent.manifest.base.num_layers,)
    return Plan(variant, states, reader, tuple(parent.grafts), params=tensors)


@dataclass(frozen=True)
class _Run:
    """What all placements of one run have in common."""

    config: Config
    base: Base
    vocabulary: Vocabulary
    wording: Wording
    plans: Sequence[Plan]
    train: Rows
    held: Rows
    folder: Path
    parent: Package | None

    def trained(self) -> TrainedWriter:
        cache = PrefixCache(self.base, self.wording.max_prompt + self.wording.max_new, self.config.cache)
        wanted = {min(g.layer for g in plan.grafts) for plan in self.plans} - {0}
        learnt, held = (
            Written.of(cache, self.wording, rows.texts, rows.labels or (), wanted) for rows in (self.train, self.held)
        )
        for what, count in (("cut_prompts", learnt.cut_prompts), ("cut_answers", learnt.cut_answers)):
            if count:
                warn(f"writing.{what}", rows=count, most=self.wording.max_prompt + self.wording.max_new)
        raced = self._raced(learnt, held)
        best = min(raced, key=lambda placed: placed.fit.loss)
        seconds = {"cache": learnt.rows.cache_s} | {placed.variant: placed.fit.train_s for placed in raced}
        seconds["total"] = sum(seconds.values())
        package = self._package(best, raced, seconds, cache)
        began = best.fit.curve[0][1]
        facts = {"before": -math.log(began), "after": best.fit.loss, "variant": best.variant}
        verdict = "writing.verdict_again" if self.parent else "writing.verdict"
        return TrainedWriter(
            adapter=Writer(package, self.base),
            candidates=raced,
            seconds=seconds,
            curve=_curve(raced, seconds["cache"]),
            verdict=text(verdict, **facts),
        )

    def _raced(self, learnt: Written, held: Written) -> list[Placed]:
        """All placements, of which all but the best stop after a part of their passes."""
        settings = self.config.train
        total = num_passes(settings, len(batches_of(learnt.rows.lengths, settings, 0)))
        few = max(1, total // 3)
        if len(self.plans) == 1:
            return [self._run(self.plans[0], learnt, held, None)]
        found = {plan.variant: self._run(plan, learnt, held, few) for plan in self.plans}
        best = min(found.values(), key=lambda placed: placed.fit.loss).variant
        (plan,) = (plan for plan in self.plans if plan.variant == best)
        found[best] = self._run(plan, learnt, held, None)
        for placed in found.values():
            notify("writing.candidate", **placed.facts())
        return list(found.values())

    def _run(self, plan: Plan, learnt: Written, held: Written, passes: int | None) -> Placed:
        began = time.perf_counter()
        adapted = AdaptedModel(self.base.model, self.base.anatomy)
        usual = learnt.rows.num_supervised / len(learnt.rows)
        settings, params = self.config.train, part(plan.params, "modules")
        scribe = Scribe(adapted, self.vocabulary, plan.grafts, usual, settings.seed, params).to(self.base.device)
        checkpoint = Checkpoint(self.folder, plan.variant.replace("/", "-").replace(" ", "-"))
        try:
            result = fit(scribe, learnt, held, self.config.train, checkpoint, plan.variant, began=began, passes=passes)
            tensors = {f"modules.{k}": v.detach().cpu().clone() for k, v in adapted.tensors(NAME).items()}
        finally:
            adapted.detach()
        boundary = min(graft.layer for graft in plan.grafts)
        modules = tuple(map(facts_of, plan.grafts))
        return Placed(
            plan.variant, result, tensors, Placement(boundary=boundary, exit=self.base.num_layers, modules=modules)
        )

    def _package(self, best: Placed, raced: Sequence[Placed], seconds: dict[str, float], cache: PrefixCache) -> Package:
        config, base, wording = self.config, self.base, self.wording
        facts = {
            **wording.writing.model_dump(mode="json"),
            "end": int(wording.end),
            "max_prompt": wording.max_prompt,
            "max_new": wording.max_new,
            "max_length": wording.max_prompt + wording.max_new,
            "normalised": NORMALISED,
        }
        trainable = sum(tensor.numel() for tensor in best.tensors.values())
        manifest = Manifest(
            name=config.name or "",
            tsugiki_version=version("tsugiki"),
            task=facts,
            base=base.facts,
            placement=best.placement,
            head=HeadFacts(),
            variant=best.variant,
            training=config.model_dump(mode="json", exclude={"base", "name", "cache"}),
            data=DataFacts(
                rows_digest=self.train.digest(),
                num_train=len(self.train),
                num_validation=len(self.held),
                class_counts={},
            ),
            metrics={
                "validation_loss": round(best.fit.loss, 4),
                "total_train_s": round(seconds["total"], 3),
                "cache_s": round(seconds["cache"], 3),
                "num_trainable": trainable,
                "trainable_share": round(trainable / base.num_params, 6),
            },
            candidates=tuple(placed.facts() for placed in raced),
            parents=(self.parent.digest,) if self.parent else (),
            licence=config.licence,
            usage_terms=config.usage_terms,
        )
        described = {f"statistics.{name}": tensor for name, tensor in self._statistics(cache).items()}
        return Package(manifest, best.tensors | described, digest="")

    def _statistics(self, cache: PrefixCache) -> dict[str, Tensor]:
        """Of prompts without their answers, by which a set of adapters recognises its inputs."""
        last = self.base.num_layers
        layers = {max(1, last // 4), last // 2, 3 * last // 4}
        pooled = []
        for rows in (self.train, self.held):
            step = -(-len(rows) // _DESCRIBED)
            prompts = [self.wording.prompt(source)[0] for source in rows.texts[::step]]
            pooled.append(cache.prompts(prompts, max(layers)))
        return statistics_of(self.base.digest, pooled[0], torch.ones(len(pooled[0]), 1), pooled[1], layers)


def _curve(raced: Sequence[Placed], cache_s: float) -> list[tuple[float, float]]:
    """Best probability of a token so far, by seconds; candidates one after the other."""
    clock, best, curve = cache_s, 0.0, [(0.0, 0.0)]
    for placed in raced:
        for seconds, score in placed.fit.curve:
            best = max(best, score)
            curve.append((clock + seconds, best))
        clock += placed.fit.train_s
    return curve
