"""A candidate with its manifest, as a package on its base."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from torch import Tensor

from tsugiki.adapt.package import Package
from tsugiki.adapt.statistics import statistics_of
from tsugiki.base.model import Base
from tsugiki.data.rows import Rows
from tsugiki.data.texts import NORMALISED, PAIR
from tsugiki.manifest import Control, DataFacts, Manifest
from tsugiki.placement.costs import Predicted
from tsugiki.tasks.adapter import Adapter
from tsugiki.tasks.task import Task
from tsugiki.train.calibration import review_of, temperature_of
from tsugiki.train.candidate import Candidate
from tsugiki.train.config import Config
from tsugiki.train.loop import Labelled


@dataclass(frozen=True)
class Packer:
    """What all candidates of one run have in common.

    Args:
        config: of the run.
        base: the base.
        task: what is answered, before anything is chosen on validation.
        max_length: tokens per row.
        rows: training rows.
        train: their states.
        held: states of the validation rows.
        parent: package that it goes on from.
        costs: that plans were foretold, by variant.
        controls: what the choice of a placement was measured against.
        domains: that have a group of modules each.
    """

    config: Config
    base: Base
    task: Task
    max_length: int
    rows: Rows
    train: Labelled
    held: Labelled
    parent: Package | None = None
    costs: Mapping[str, Predicted] = field(default_factory=dict)
    controls: tuple[Control, ...] = ()
    domains: tuple[str, ...] = ()

    def adapter(self, candidate: Candidate, rivals: Sequence[Candidate], seconds: Mapping[str, float]) -> Adapter:
        """A candidate ready to answer; its package can be saved."""
        tensors = candidate.tensors | {f"statistics.{k}": v for k, v in self._statistics(candidate).items()}
        targets = self.held.targets
        temperature = temperature_of(self.task, candidate.logits, targets)
        calibrated = candidate.logits / temperature
        task = self.task.fitted(calibrated, targets)
        review = review_of(task, calibrated, targets, self.config.train.target_precision)
        manifest = self._manifest(task, candidate, rivals, seconds)
        head = manifest.head.model_copy(update={"temperature": temperature})
        package = Package(manifest.model_copy(update={"head": head, "review": review}), tensors, digest="")
        return Adapter(package, self.base if candidate.placement.exit else None)

    def _statistics(self, candidate: Candidate) -> dict[str, Tensor]:
        last = self.base.num_layers
        layers = {max(1, last // 4), last // 2, 3 * last // 4}
        if candidate.placement.boundary > 0:
            layers.add(candidate.placement.boundary)
        top = self.train.rows.pooled.shape[1] - 1
        described = [layer for layer in layers if layer <= top]
        pooled, held = self.train.rows.pooled, self.held.rows.pooled
        return statistics_of(self.base.digest, pooled, self.task.indicator(self.train.targets), held, described)

    def _manifest(
        self, task: Task, candidate: Candidate, rivals: Sequence[Candidate], seconds: Mapping[str, float]
    ) -> Manifest:
        pairs = any(PAIR in text for text in self.rows.texts)
        counts = self.task.indicator(self.train.targets).sum(0).long().tolist()
        config = self.config
        return Manifest(
            name=config.name or "",
            tsugiki_version=version("tsugiki"),
            task={**task.settings(), "max_length": self.max_length, "normalised": NORMALISED, "pairs": pairs},
            base=self.base.facts,
            placement=candidate.placement,
            head=candidate.head,
            variant=candidate.variant,
            routing=candidate.routing,
            training=config.model_dump(mode="json", exclude={"base", "name", "cache"}),
            data=DataFacts(
                rows_digest=self.rows.digest(),
                num_train=len(self.rows),
                num_validation=len(self.held.targets),
                class_counts=dict(zip(task.labels, counts, strict=True)),
            ),
            metrics=({"survey_s": round(seconds["survey"], 3)} if "survey" in seconds else {})
            | ({} if math.isnan(candidate.score) else {"validation_score": round(candidate.score, 4)})
            | {
                "total_train_s": round(seconds["total"], 3),
                "cache_s": round(seconds["cache"], 3),
                "num_trainable": candidate.num_trainable,
                "trainable_share": round(candidate.num_trainable / self.base.num_params, 6),
            },
            candidates=tuple(rival.facts() for rival in rivals),
            forecasts={rival.variant: rival.forecasts for rival in rivals if rival.forecasts},
            controls=self.controls,
            licence=config.licence,
            usage_terms=config.usage_terms,
            parents=(self.parent.digest,) if self.parent else (),
        )
