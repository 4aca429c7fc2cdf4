"""The pass that finds the evidence."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.classifier import Classifier
from tsugiki.adapt.reader import READERS, mean_pool
from tsugiki.base.model import Base
from tsugiki.base.prefix_cache import CachedRows
from tsugiki.base.suffix import run_states
from tsugiki.data.batches import length_batches
from tsugiki.data.split import folds
from tsugiki.i18n import text
from tsugiki.placement.evidence import Evidence, Place, gains_of, reliability_of, shared
from tsugiki.placement.plan import head_states
from tsugiki.placement.sketch import Sketch
from tsugiki.progress import progress
from tsugiki.tasks.task import Task

NAME = "probe"
_QUARTERS = 4
# Ridge penalties, in units of the sum of squares of a standardised feature.
_PENALTIES = (0.01, 0.1, 1.0)
# Of logits; those of a regression on 0 and 1 are far too small.
_SCALES = tuple(1.3**power for power in range(-16, 14))

Fit = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Fits a head on features (N, F) and targets: weight (C, F) and bias (C,)."""


@dataclass(frozen=True)
class Probe:
    """Rows to look at, dealt into four quarters.

    Args:
        base: the base.
        rows: calibration rows with their pooled states.
        targets: of these rows.
        task: what is answered.
        fit: fits the heads.
        quarters: row numbers of each quarter.
        seed: of the sketches.
    """

    base: Base
    rows: CachedRows
    targets: Tensor
    task: Task
    fit: Fit
    quarters: tuple[tuple[int, ...], ...]
    seed: int

    def run(self) -> Evidence:
        """Forward and back once over all rows."""
        began = time.perf_counter()
        sketches = self._sketches()
        adapted = AdaptedModel(self.base.model, self.base.anatomy)
        try:
            adapted.attach(NAME, [Graft(*place, sketch) for place, sketch in sketches.items()], seed=self.seed)
            found = self._gradients(adapted)
        finally:
            adapted.detach()
        quarters = {place: [sketches[place].whitened(g) for g in found[place]] for place in sketches}
        tokens = sum(self.rows.lengths) / len(self.rows)
        gains = {
            place: gains_of(own, self.base.anatomy.site(*place).in_width, tokens) for place, own in quarters.items()
        }
        scores, losses = zip(*(self._exit(number) for number in range(1, self.base.num_layers + 1)), strict=True)
        spent = time.perf_counter() - began
        gains = shared(gains, min(losses))
        return Evidence(gains, losses, scores, reliability_of(quarters), len(self.rows), spent)

    def _sketches(self) -> dict[Place, Sketch]:
        """One for each site of each layer."""
        sites = self.base.anatomy.sites
        return {(layer, site.name): Sketch() for layer, own in enumerate(sites) for site in own}

    # --- gradients

    def _gradients(self, adapted: AdaptedModel) -> dict[Place, list[Tensor]]:
        """Sketched gradient of the mean loss of each quarter, by site."""
        found: dict[Place, list[Tensor]] = defaultdict(list)
        ups = {place: bank.params(NAME)["up"] for place, bank in adapted.banks.items()}
        for up in ups.values():
            up.requires_grad_(True)
        heads = self._heads()
        with progress(text("placement.bar"), len(self.rows)) as advance, adapted.using(NAME):
            for number, quarter in enumerate(self.quarters):
                for batch in self._batches(quarter):
                    self._backward(adapted, heads[number // 2], batch)
                    advance(len(batch))
                for place, up in ups.items():
                    assert up.grad is not None
                    found[place].append(up.grad / len(quarter))
                    up.grad = None
        return found

    def _heads(self) -> tuple[Classifier, Classifier]:
        """For the first two quarters and for the last two, each fitted on the others.

        A head that is too sure, or not sure enough, of rows that it has not seen would have every site turn the scale
        of its states: the same way on all rows, and to no avail. So each is brought to the scale that suits them.
        """
        states = head_states(self.base.num_layers)
        features = self.rows.pooled[:, list(states)].flatten(1)
        made = []
        for own, other in (self._halves, self._halves[::-1]):
            weight, bias = self.fit(features[other], self.targets[other])
            logits, targets = features[own] @ weight.T + bias, self.targets[own]
            scale = min(_SCALES, key=lambda scale: self.task.measure(scale * logits, targets)[1])
            head = Classifier(states, READERS.parse({"kind": "mean"}), {}, scale * weight, scale * bias)
            made.append(head.requires_grad_(False).to(self.base.device))
        return made[0], made[1]

    @property
    def _halves(self) -> list[list[int]]:
        """Rows of the first two quarters, and of the last two."""
        return [[row for quarter in part for row in quarter] for part in (self.quarters[:2], self.quarters[2:])]

    def _batches(self, quarter: Sequence[int]) -> Iterator[list[int]]:
        lengths = [len(self.rows.token_ids[row]) for row in quarter]
        tokens = self.base.step_tokens
        for batch in length_batches(lengths, tokens, tokens):
            yield [quarter[at] for at in batch]

    def _backward(self, adapted: AdaptedModel, head: Classifier, batch: Sequence[int]) -> None:
        ids, mask = self.rows.batch(batch)
        states = run_states(adapted.model, self.base.anatomy, ids, mask, head.states)
        pooled = mean_pool(torch.stack([states[s] for s in head.states]), mask).transpose(0, 1).flatten(1)
        self.task.losses(head(pooled), self.targets[list(batch)].to(pooled.device)).sum().backward()

    # --- exits

    def _exit(self, number: int) -> tuple[float, float]:
        """Score and loss of a ridge regression on the mean of one state, each half answered by the other's."""
        features = self.rows.pooled[:, number].double()
        indicator = self.task.indicator(self.targets).double()
        tried = []
        for penalty in _PENALTIES:
            answers = torch.zeros_like(indicator)
            for own, other in (self._halves, self._halves[::-1]):
                answers[own] = _ridge(features[other], indicator[other], penalty, features[own])
            tried.append(self._measured(answers.float()))
        return max(tried, key=lambda pair: (pair[0], -pair[1]))

    def _measured(self, answers: Tensor) -> tuple[float, float]:
        """At the scale that suits answers best: a regression on 0 and 1 is of no scale."""
        return min((self.task.measure(answers * s, self.targets) for s in _SCALES), key=lambda pair: pair[1])


def _ridge(features: Tensor, wanted: Tensor, penalty: float, asked: Tensor) -> Tensor:
    """Ridge regression on standardised features (N, d) and (N, C), asked for others (M, d): (M, C)."""
    mean, scale = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
    x = (features - mean) / scale
    gram = x.T @ x + penalty * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    middle = wanted.mean(0)
    weight: Tensor = torch.linalg.solve(gram, x.T @ (wanted - middle))
    return (asked - mean) / scale @ weight + middle


def quarters_of(strata: Sequence[str], seed: int) -> tuple[tuple[int, ...], ...]:
    """Row numbers dealt by class."""
    return tuple(tuple(held) for _, held in folds(strata, _QUARTERS, seed))
