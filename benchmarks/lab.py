"""Plans trained on a few rows of a set and asked the rest of it: for studies of scores, where nothing is timed.

States are kept on shelves, so that the next draw from the same set finds most of its rows there.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.sets import parts
from tsugiki.adapt.adapted import AdaptedModel, Graft
from tsugiki.adapt.classifier import Classifier
from tsugiki.adapt.package_checks import form_of
from tsugiki.adapt.reader import READERS, mean_pool
from tsugiki.adapt.tensors import part
from tsugiki.base.model import Base, load_base
from tsugiki.base.prefix_cache import CachedRows, PrefixCache
from tsugiki.base.suffix import run_states
from tsugiki.data.rows import Rows, Splits
from tsugiki.data.split import subsample, with_validation
from tsugiki.placement.plan import Plan
from tsugiki.tasks.task import Task, task_for
from tsugiki.train.candidate import Candidate
from tsugiki.train.config import DataSettings, TrainSettings
from tsugiki.train.head import LinearHead
from tsugiki.train.heads import head_candidate
from tsugiki.train.learner import NAME
from tsugiki.train.loop import Labelled, parts_of
from tsugiki.train.track import Track

MOST_TEST, MOST_TOKENS = 1_000, 256


def built_in() -> Base:
    """The base of all studies, in one precision on every machine."""
    return load_base(None, precision="fp32")


@dataclass(frozen=True)
class Lab:
    """A set under a base.

    Args:
        base: the base.
        task: of the whole set.
        pool: rows to draw from.
        test: rows that are asked, with their states.
        boundary: at which states are kept.
    """

    base: Base
    task: Task
    pool: Rows
    test: Labelled
    boundary: int

    @classmethod
    def of(cls, name: str, data: Path, base: Base) -> "Lab":
        """A set by name, its first fold where it is folded; states are kept half-way up."""
        _, splits = next(parts(name, data, max_test=MOST_TEST))
        assert splits.train is not None and splits.test is not None
        task, boundary = task_for(splits.train, DataSettings()), base.num_layers // 2
        return cls(base, task, splits.train, labelled(base, task, splits.test, boundary), boundary)

    def draw(self, size: int, seed: int) -> tuple[Labelled, Labelled]:
        """Training and validation rows out of so many."""
        drawn = self.pool.take(subsample(self.pool.strata, size, seed))
        splits = with_validation(Splits(drawn, None, None), share=0.15, seed=seed)
        assert splits.train is not None and splits.validation is not None
        train, held = (
            labelled(self.base, self.task, rows, self.boundary) for rows in (splits.train, splits.validation)
        )
        return train, held


def labelled(base: Base, task: Task, rows: Rows, boundary: int) -> Labelled:
    """Rows with their states."""
    cached = PrefixCache(base, MOST_TOKENS).rows(rows.texts, {boundary}, base.num_layers)
    return Labelled(cached, task.targets(rows.labels or ()), task)


def head_of(train: Labelled, held: Labelled, plan: Plan) -> Candidate:
    """The fitted head on the states that a plan reads."""
    return head_candidate(train, held, plan.states)


def grown(train: Labelled, held: Labelled, plan: Plan, start: LinearHead | None, seed: int) -> Candidate:
    """A plan trained to its end."""
    with tempfile.TemporaryDirectory() as folder:
        return Track(train.rows.base, train, held, TrainSettings(seed=seed), Path(folder)).run(plan, start, 0.0)


@torch.inference_mode()
def under(grafts: tuple[Graft, ...], tensors: dict[str, Tensor], rows: CachedRows, boundary: int) -> CachedRows:
    """The same rows, their pooled states above a boundary being those under some modules."""
    base, pooled = rows.base, rows.pooled.clone()
    adapted = AdaptedModel(base.model, base.anatomy)
    adapted.attach(NAME, grafts, part(tensors, "modules"))
    above = range(boundary + 1, base.num_layers + 1)
    try:
        for batch in parts_of(rows, sorted(range(len(rows)), key=rows.lengths.__getitem__)):
            ids, mask = rows.batch(batch)
            with adapted.using(NAME):
                states = rows.state(boundary, batch)
                found = run_states(base.model, base.anatomy, ids, mask, above, boundary=boundary, state=states)
            pooled[batch, boundary + 1 :] = mean_pool(torch.stack([found[s] for s in above]), mask).transpose(0, 1)
    finally:
        adapted.detach()
    return CachedRows(base, rows.token_ids, pooled)


def score(candidate: Candidate, rows: Labelled, boundary: int) -> float:
    """Share of right answers of a candidate (0..1)."""
    grafts = tuple(Graft(m.layer, m.site, form_of(m)) for m in candidate.placement.modules)
    cached = under(grafts, candidate.tensors, rows.rows, boundary) if grafts else rows.rows
    states, tensors = candidate.head.states, candidate.tensors
    reader = READERS.parse({"kind": "mean"})
    classifier = Classifier(states, reader, {}, tensors["head.weight"].float(), tensors["head.bias"].float())
    logits = classifier(cached.pooled[:, list(states)].flatten(1)).detach()
    return rows.task.measure(logits, rows.targets)[0]
