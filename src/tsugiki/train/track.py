"""Train a plan and keep its result, so that a race that is killed goes on where it was."""

import json
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.adapt.classifier import Classifier
from tsugiki.adapt.package_checks import facts_of
from tsugiki.adapt.tensors import part
from tsugiki.base.memory import Growth
from tsugiki.base.model import Base
from tsugiki.data.batches import length_batches
from tsugiki.manifest import Forecast, HeadFacts, Placement
from tsugiki.placement.costs import Predicted
from tsugiki.placement.plan import Plan
from tsugiki.train.candidate import Candidate
from tsugiki.train.checkpoint import Checkpoint, read_kept, write_kept
from tsugiki.train.clock import answer_ms
from tsugiki.train.config import TrainSettings
from tsugiki.train.grouped import GroupedScion
from tsugiki.train.grouping import Setup, found_by_gates
from tsugiki.train.head import PENALTIES, LinearHead, fit_path
from tsugiki.train.heads import features_of
from tsugiki.train.learner import NAME
from tsugiki.train.loop import Fit, Labelled, batches_of, fit, num_passes, scores
from tsugiki.train.scion import Scion


@dataclass(frozen=True)
class Track:
    """Everything the plans of one race share.

    Args:
        base: the base.
        train: training rows.
        held: validation rows.
        settings: of each run.
        folder: where results and checkpoints are kept until the race is over.
        costs: that plans were foretold, by variant.
        groups: of plans that have some.
    """

    base: Base
    train: Labelled
    held: Labelled
    settings: TrainSettings
    folder: Path
    costs: Mapping[str, Predicted] = field(default_factory=dict)
    groups: Setup | None = None

    @property
    def passes(self) -> int:
        """Passes over the training rows of a whole run."""
        return num_passes(self.settings, len(batches_of(self.train.rows.lengths, self.settings, 0)))

    def run(self, plan: Plan, start: LinearHead | None, to_beat: float, passes: int | None = None) -> Candidate:
        """Train one plan, or take its result where it was trained before the race was killed.

        Args:
            plan: what to train.
            start: a fitted head on the same states, to start from where the plan is warm.
            to_beat: score of the leader; a plan that falls far behind is given up.
            passes: over the rows, after which it is to stop for now; another call goes on from there. None: all.
        """
        name = plan.variant.replace("/", "-").replace(" ", "-")
        done = self.folder / f"{name}.done.safetensors"
        kept = read_kept(done, lambda tensors: "logits" in tensors)
        if kept is not None and not Fit(**json.loads(kept[0]["fit"])).reached(passes):
            kept = None
        header, tensors = kept or self._train(plan, start, to_beat, Checkpoint(self.folder, name), done, passes)
        return self._candidate(plan, header, tensors)

    def _train(
        self,
        plan: Plan,
        start: LinearHead | None,
        to_beat: float,
        checkpoint: Checkpoint,
        done: Path,
        passes: int | None,
    ) -> tuple[dict[str, str], dict[str, Tensor]]:
        # Only where it was foretold, and off the clock: to give back what lies idle takes a while.
        memory = Growth() if plan.variant in self.costs else None
        began = time.perf_counter()
        adapted = AdaptedModel(self.base.model, self.base.anatomy)
        scion = self._scion(plan, start, adapted).to(self.base.device)
        try:
            if plan.params and "head.weight" not in plan.params:
                self._fit_head(scion)
            with memory or nullcontext():
                result = fit(
                    scion, self.train, self.held, self.settings, checkpoint, plan.variant, to_beat, began, passes
                )
            if isinstance(scion, GroupedScion):
                scion.settle(self.train.rows)
                score, loss = self.held.measure(scion)
                result = replace(result, score=score, loss=loss)
            logits = scores(scion, self.held.rows)
            spent_ms = answer_ms(scion, self.train.rows) if plan.grafts else 0.0
            weight, bias = scion.classifier.folded()
            tensors = {f"modules.{k}": v for k, v in adapted.tensors(NAME).items()}
            tensors |= {f"reader.{k}": v for k, v in scion.classifier.reader_params.items()}
            tensors |= {"head.weight": weight, "head.bias": bias, "logits": logits}
            found: dict[str, float] = {}
            if isinstance(scion, GroupedScion):
                tensors |= {f"groups.{k}": v for k, v in scion.grouped.tensors().items()}
                tensors |= {f"gates.{k}": v for k, v in scion.gates.tensors().items()}
                found = found_by_gates(scion, self.held, result.score)
        finally:
            adapted.detach()
        content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        told = {"answer_ms": spent_ms, "peak_bytes": memory.num_bytes if memory else 0}
        header = {"fit": json.dumps(vars(result)), "told": json.dumps(told), "found": json.dumps(found)}
        if write_kept(done, content, header) and result.is_over:
            checkpoint.remove()
        return header, content

    def _scion(self, plan: Plan, start: LinearHead | None, adapted: AdaptedModel) -> Scion:
        classifier, seed = self.classifier(plan, start), self.settings.seed
        if self.groups is None or not plan.grouped:
            return Scion(adapted, plan.grafts, classifier, seed, part(plan.params, "modules"))
        return self.groups.scion(adapted, plan.grafts, classifier, self.train, self.held, seed)

    @torch.no_grad()
    def _fit_head(self, scion: Scion) -> None:
        """Let modules that come without a head start behind one that is fitted to the states that they make."""
        rows, batch_tokens = self.train.rows, self.base.batch_tokens
        features = torch.zeros(len(rows), scion.classifier.weight.shape[1])
        for batch in length_batches(rows.lengths, batch_tokens, batch_tokens):
            features[batch] = scion.features(rows, batch).float().cpu()
        (head,) = fit_path(features, self.train.targets, self.train.task, PENALTIES[:1])
        kept, spread = scion.classifier, features.std(0, correction=0).clamp(min=1e-6)
        params = dict(kept.reader_params.items())
        numbers = (head.weight, head.bias, features.mean(0), spread)
        scion.classifier = Classifier(kept.states, kept.reader, params, *numbers).to(self.base.device)

    def _forecasts(self, plan: Plan, result: Fit, came: Mapping[str, float]) -> dict[str, Forecast]:
        cost = self.costs.get(plan.variant)
        if cost is None:
            return {}
        share, began_s = (len(result.curve) - 1) / self.passes, result.curve[0][0]
        found = {
            "train_s": (share * cost.train_s, result.train_s - began_s),
            "latency_ms": (cost.latency_ms, came["answer_ms"]),
            "peak_bytes": (cost.peak_bytes, came["peak_bytes"]),
        }
        return {name: Forecast(predicted=told, measured=measured) for name, (told, measured) in found.items()}

    def classifier(self, plan: Plan, start: LinearHead | None) -> Classifier:
        """Reader and head to start from: those of the plan, the fitted head where it is warm, else zeros."""
        features = features_of(self.train, plan.states)
        mean, scale = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
        if "head.weight" in plan.params:
            weight, bias = plan.params["head.weight"], plan.params["head.bias"]
        elif plan.warm and start is not None:
            weight, bias = start.weight, start.bias
        else:
            task = self.train.task
            weight, bias = torch.zeros(len(task.labels), features.shape[1]), task.prior(self.train.targets)
        reader = plan.reader
        params = part(plan.params, "reader") or reader.init(len(plan.states), self.base.width)
        return Classifier(plan.states, reader, params, weight, bias, mean, scale)

    def _candidate(self, plan: Plan, header: Mapping[str, str], tensors: dict[str, Tensor]) -> Candidate:
        result, told, logits = Fit(**json.loads(header["fit"])), json.loads(header["told"]), tensors.pop("logits")
        modules, groups = tuple(map(facts_of, plan.grafts)), self.groups
        exit = max(plan.states)
        boundary = min((g.layer for g in plan.grafts), default=exit)
        return Candidate(
            variant=plan.variant,
            score=result.score,
            loss=result.loss,
            train_s=result.train_s,
            predicted_s=result.predicted_s,
            num_trainable=sum(t.numel() for t in tensors.values()),
            curve=tuple((float(s), float(a)) for s, a in result.curve),
            placement=Placement(boundary=boundary, exit=exit, modules=modules),
            head=HeadFacts(states=plan.states, reader=plan.reader.model_dump(mode="json")),
            tensors=tensors,
            logits=logits,
            forecasts=self._forecasts(plan, result, told),
            routing=groups.facts(plan.grafts, json.loads(header["found"])) if groups and plan.grouped else None,
        )
