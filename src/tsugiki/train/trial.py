"""What a placement costs here, by taking a few steps and giving a few answers with it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from tsugiki.adapt.adapted import AdaptedModel
from tsugiki.base.memory import Growth
from tsugiki.base.model import Base
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.base.upkeep import CacheSettings
from tsugiki.placement.costs import Costs, Measured, fit_costs
from tsugiki.placement.plan import Plan
from tsugiki.placement.strategies.uniform import Uniform
from tsugiki.train.clock import answer_ms
from tsugiki.train.config import PlacementSettings
from tsugiki.train.loop import Labelled, batches_of, num_passes, padded, parts_of, scores, step
from tsugiki.train.prepare import Prepared
from tsugiki.train.scion import Scion
from tsugiki.train.track import Track

_BATCHES = 3


@dataclass(frozen=True)
class Trial:
    """Batches of the lengths that training will see.

    Args:
        track: of the rows in these batches.
        batches: that a step is timed on.
    """

    track: Track
    batches: list[list[int]]

    @property
    def base(self) -> Base:
        """The base."""
        return self.track.base

    def measure(self, plan: Plan) -> Measured:
        """Time one plan; nothing of it stays on the base."""
        adapted = AdaptedModel(self.base.model, self.base.anatomy)
        scion = Scion(adapted, plan.grafts, self.track.classifier(plan, None), seed=0).to(self.base.device)
        try:
            return Measured(self._step_s(scion), self._kept_bytes(scion), answer_ms(scion, self.track.train.rows))
        finally:
            adapted.detach()

    def peak_bytes(self, plan: Plan) -> float:
        """Memory that steps and a pass over rows that are asked take at most; nothing of it stays."""
        adapted = AdaptedModel(self.base.model, self.base.anatomy)
        scion = Scion(adapted, plan.grafts, self.track.classifier(plan, None), seed=0).to(self.base.device)
        try:
            with Growth() as memory:
                self._step_s(scion)
                scores(scion, self.track.train.rows)
            return float(memory.num_bytes)
        finally:
            adapted.detach()

    def _step_s(self, scion: Scion) -> float:
        settings = self.track.settings
        accelerator = Accelerator()
        optimiser = torch.optim.AdamW(scion.groups(1e-9, 1e-9, 1e-9, 0.0))

        def steps(batches: Sequence[list[int]]) -> float:
            began = time.perf_counter()
            for number, batch in enumerate(batches):
                step(scion, scion, self.track.train, batch, settings, number, accelerator)
                optimiser.step()
                optimiser.zero_grad()
            return time.perf_counter() - began

        # The first step is that of a cold machine; what the others are off by chance, the fit over plans evens out.
        steps(self.batches[:1])
        return steps(self.batches) / len(self.batches)

    def _kept_bytes(self, scion: Scion) -> float:
        """Bytes that the largest part of a batch keeps for the way back, each storage once."""
        rows = self.track.train.rows
        largest = max((part for batch in self.batches for part in parts_of(rows, batch)), key=lambda p: padded(rows, p))
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        frozen = {p.untyped_storage().data_ptr() for p in self.base.model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            logits = scion(rows, largest)
        del logits
        return float(sum(size for place, size in kept.items() if place not in frozen))


def costs_of(ready: Prepared, lengths: Sequence[int]) -> Costs:
    """Time a handful of plans that differ in layers, modules, ranks and exit.

    Args:
        ready: rows, task, base and settings.
        lengths: tokens of each training row.
    """
    base, rows, task, settings = ready.base, ready.train, ready.task, ready.config.train
    batches = batches_of(lengths, settings, 0)
    by_size = sorted(batches, key=lambda batch: len(batch) * max(lengths[row] for row in batch))
    # Spread over all sizes, so that their mean is that of a whole pass.
    shown = [by_size[(2 * at + 1) * len(by_size) // (2 * _BATCHES)] for at in range(min(_BATCHES, len(by_size)))]
    drawn = [row for batch in shown for row in batch]
    place = {row: at for at, row in enumerate(drawn)}
    sample = rows.take(drawn)
    plans = _plans(base, ready.config.placement)
    states = {min(g.layer for g in plan.grafts) for plan in plans if plan.grafts} - {0}
    cache = PrefixCache(base, ready.max_length, CacheSettings(enabled=False))
    cached = cache.rows(sample.texts, states, base.num_layers)
    train = Labelled(cached, task.targets(sample.labels or ()), task)
    track = Track(base, train, train, settings, Path())
    trial = Trial(track, [[place[row] for row in batch] for batch in shown])
    pooled_bytes = len(rows) * (base.num_layers + 1) * base.width * torch.float32.itemsize
    passes = num_passes(settings, len(batches))
    # What is kept for the way back is a part of what is needed; two plans that keep much and little tell the rest.
    peaks = [trial.peak_bytes(plan) for plan in plans[:3:2]]
    return fit_costs(plans, trial.measure, base.anatomy, passes, len(batches), pooled_bytes, peaks)


def _plans(base: Base, placement: PlacementSettings) -> list[Plan]:
    """Plans whose loads are as different as can be."""
    layers, sites, form = base.num_layers, placement.sites, placement.form

    def suffix(boundary: int, exit: int, sites: Sequence[str] = sites, **changed: object) -> Plan:
        chosen = {**form, **{name: value for name, value in changed.items() if name in form}}
        strategy = Uniform(boundary=boundary, exit=exit, sites=tuple(sites), form=chosen)
        return strategy.plans(base.anatomy)[0]

    middle = layers // 2
    one = (base.anatomy.sites[layers - 1][0].name,)
    found = [
        suffix(layers - 1, layers),
        suffix(middle, layers),
        suffix(0, layers),
        suffix(middle, layers, one),
        suffix(middle, layers, rank=32),
        suffix(0, max(1, middle)),
    ]
    return list({(plan.grafts, plan.states): plan for plan in found}.values())
