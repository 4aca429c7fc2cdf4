"""A run of an adapter that writes: what all its placements share, the race between them, and the package."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.adapt.package import Package
from tsugiki.adapt.package_checks import facts_of
from tsugiki.adapt.statistics import statistics_of
from tsugiki.adapt.tensors import part
from tsugiki.base.model import Base
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.base.vocabulary import Vocabulary
from tsugiki.data.rows import Rows
from tsugiki.data.texts import NORMALISED
from tsugiki.i18n import notify, text, warn
from tsugiki.manifest import DataFacts, HeadFacts, Manifest, Placement
from tsugiki.placement.plan import Plan
from tsugiki.train.checkpoint import Checkpoint
from tsugiki.train.config import Config
from tsugiki.train.learner import NAME
from tsugiki.train.loop import Fit, batches_of, fit, num_passes
from tsugiki.train.scribe import Scribe
from tsugiki.train.written import Written
from tsugiki.writing.wording import Wording
from tsugiki.writing.writer import Writer

# Prompts that are described for routing.
_DESCRIBED = 2_000


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


@dataclass(frozen=True)
class WritingRun:
    """What all placements of one run have in common.

    Args:
        config: of the run.
        base: with its vocabulary head.
        vocabulary: of the base.
        wording: how it is asked.
        plans: placements to try.
        train: training rows.
        held: validation rows.
        folder: where runs are kept until all is over.
        parent: package that it goes on from.
    """

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
        """Cache, race, choose, pack."""
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
        """All placements; the worst stops after a third of the passes, all but the best after a half.

        A low boundary learns more slowly at first and more in the end, so a single early cut would leave it out.
        """
        settings = self.config.train
        total = num_passes(settings, len(batches_of(learnt.rows.lengths, settings, 0)))
        found: dict[str, Placed] = {}
        racing = list(self.plans)
        for passes, most in ((max(1, total // 3), 2), (max(1, total // 2), 1), (None, 1)):
            if len(racing) > 1 or passes is None:
                found |= {plan.variant: self._run(plan, learnt, held, passes) for plan in racing}
                racing = sorted(racing, key=lambda plan: found[plan.variant].fit.loss)[:most]
        if len(found) > 1:
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
