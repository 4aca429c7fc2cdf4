"""Whether to start at all, with which rows, and what to expect: from a learning curve of the rows that there are."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from tsugiki.adapt.package import load_package
from tsugiki.advise.curve import Bench, Curve
from tsugiki.advise.law import Band, Law, Point
from tsugiki.advise.worth import Assumptions, Worth
from tsugiki.base.prefix_cache import PrefixCache
from tsugiki.data.likeness import near_pairs, plain
from tsugiki.data.rows import Rows, Splits
from tsugiki.data.suspects import LEAST_ROWS, suspects
from tsugiki.data.texts import clip
from tsugiki.errors import RowsError
from tsugiki.spec import Spec
from tsugiki.tasks.adapter import Adapter
from tsugiki.train.config import Config
from tsugiki.train.prepare import prepare
from tsugiki.train.run import train_adapter

Verdict = Literal["not_yet", "enough", "more_rows", "modules"]
# A score from which the head alone is called enough, and what twice the rows must promise to be worth asking for.
_ENOUGH, _WORTH_ROWS = 0.95, 0.01
# What a person types from rows to answers, and every later month.
_STEPS, _UPDATE = ("data check", "train", "evaluate", "predict"), ("train --from", "evaluate")
WIDER = 1.5
"""By which the band of the automatic share is widened: a threshold hangs on single rows, and its share follows no power
law. So it holds four cases in five; `explanation/measurements` has the figures."""
_FEWEST_PER_CLASS, _MOST_WEAK = 2, 3
# Of a share, beyond which a class is called weaker than the rest: one side of nine in ten.
_ERRORS = 1.28


class Expected(Spec):
    """What training on so many rows is expected to come to, with its band of 80 %.

    Args:
        rows: trained on.
        score: share of right answers (0..1).
        automatic: share of cases that need no person at the wanted precision (0..1).
        worth: of the automatic share in the middle of its band.
    """

    rows: int
    score: Band
    automatic: Band
    worth: Worth


class Weak(Spec):
    """A class that would gain most from more rows: how many it has, and the share of them that is answered rightly."""

    label: str
    rows: int
    recall: float


class Operation(Spec):
    """What it takes to run, counted.

    Args:
        steps: commands that a person types from rows to answers.
        update_steps: commands of every later month.
        back_s: seconds until the adapter of before answers again.
        adapter_bytes: of one adapter.
        base_bytes: of the base, which all adapters share.
    """

    steps: int
    update_steps: int
    back_s: float
    adapter_bytes: int
    base_bytes: int


class Advice(Spec):
    """Everything that is told.

    Args:
        verdict: what to do next.
        num_rows: N.
        num_classes: C.
        metric: what the score is.
        wanted: precision that automatic answers shall have (0..1).
        guess: score of always answering the largest class (0..1).
        points: what was measured.
        automatic: likewise, of the automatic share.
        expected: at the present number of rows, and at twice as many.
        weak: classes to add rows for, the most useful first.
        suspects: rows whose label is likely wrong.
        near_duplicates: pairs of texts that are nearly the same.
        variant: what won most of the largest draws.
        assumed: what the money rests on.
        operation: what it takes to run.
    """

    verdict: Verdict
    num_rows: int
    num_classes: int
    metric: str
    wanted: float
    guess: float
    points: tuple[Point, ...]
    automatic: tuple[Point, ...]
    expected: tuple[Expected, ...]
    weak: tuple[Weak, ...]
    suspects: int
    near_duplicates: int
    variant: str
    assumed: Assumptions
    operation: Operation


def advise(splits: Splits, config: Config, assumed: Assumptions) -> Advice:
    """Look at rows and say what to expect of them.

    Args:
        splits: rows; those of validation are taken with those of train, and those of test are left alone.
        config: of the runs that are foretold.
        assumed: what the money rests on.

    Raises:
        RowsError: a class has fewer than two rows, or the rows cannot be learnt from.
    """
    ready = prepare(splits, config)
    rows = _all(ready.train, ready.held)
    cache = PrefixCache(ready.base, ready.max_length, config.cache)
    clipped = Rows(tuple(clip(text, ready.max_length) for text in rows.texts), rows.labels, rows.several)
    bench = Bench(clipped, cache.rows(rows.texts, (), ready.base.num_layers), config)
    curve = bench.curve()
    if not curve.draws:
        raise RowsError("advise.too_few", rows=len(rows))
    scores, automatic = Law.fit(curve.scores(), curve.asked), Law.fit(curve.automatic(), curve.asked)
    expected = tuple(_expected(n, scores, automatic, assumed) for n in (len(rows), 2 * len(rows)))
    guess = max(Counter(rows.labels or ()).values()) / len(rows)
    variants = Counter(draw.variant for draw in curve.last)
    return Advice(
        verdict=_verdict(expected, guess),
        num_rows=len(rows),
        num_classes=len(rows.classes),
        metric=ready.task.metric,
        wanted=config.train.target_precision,
        guess=guess,
        points=tuple(curve.scores()),
        automatic=tuple(curve.automatic()),
        expected=expected,
        weak=tuple(_weak(curve, rows)),
        suspects=_suspects(rows),
        near_duplicates=len(near_pairs(list(dict.fromkeys(map(plain, rows.texts))))),
        variant=variants.most_common(1)[0][0],
        assumed=assumed,
        operation=_operation(splits, config),
    )


def _all(train: Rows, held: Rows) -> Rows:
    """Rows of both, as training would have them.

    Raises:
        RowsError: a class has fewer than two.
    """
    rows = Rows(train.texts + held.texts, (*(train.labels or ()), *(held.labels or ())), train.several)
    few = [label for label, count in Counter(rows.each_label).items() if count < _FEWEST_PER_CLASS]
    if few:
        raise RowsError("advise.single", count=len(few), labels=", ".join(sorted(few)[:8]), least=_FEWEST_PER_CLASS)
    return rows


def _expected(rows: int, scores: Law, automatic: Law, assumed: Assumptions) -> Expected:
    share = automatic.at(rows, wider=WIDER)
    return Expected(rows=rows, score=scores.at(rows), automatic=share, worth=Worth.of(share.middle, assumed))


def _verdict(expected: Sequence[Expected], guess: float) -> Verdict:
    now, twice = (e.score for e in expected)
    if now.low <= guess:
        return "not_yet"
    if now.middle >= _ENOUGH:
        return "enough"
    return "more_rows" if twice.middle - now.middle >= _WORTH_ROWS else "modules"


def _weak(curve: Curve, rows: Rows) -> Iterator[Weak]:
    """Classes that are answered worse than the rest beyond chance, by the wrong answers that are theirs."""
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for draw in curve.last:
        for label, is_right in zip(draw.labels, draw.right.tolist(), strict=True):
            asked[label] += 1
            right[label] += is_right
    whole = right.total() / asked.total()
    counts = Counter(rows.labels or ())
    wrong = {label: asked[label] - right[label] for label in asked}
    for label, _ in sorted(wrong.items(), key=lambda pair: -pair[1])[:_MOST_WEAK]:
        recall = right[label] / asked[label]
        if whole - recall > _ERRORS * (whole * (1 - whole) / asked[label]) ** 0.5:
            yield Weak(label=label, rows=counts[label], recall=recall)


def _suspects(rows: Rows) -> int:
    counts = Counter(rows.labels or ())
    if rows.several or sum(count >= LEAST_ROWS for count in counts.values()) < 2:
        return 0
    return len(suspects(rows.texts, rows.labels or (), [plain(text) for text in rows.texts]).rows)


def _operation(splits: Splits, config: Config) -> Operation:
    """Steps as they stand in the tutorial; bytes and seconds of a head that is trained, saved and loaded."""
    placement = config.placement.model_copy(update={"strategy": "head"})
    trained = train_adapter(splits, config.model_copy(update={"placement": placement}))
    base = trained.packer.base
    with TemporaryDirectory() as folder:
        place = Path(folder) / "adapter"
        trained.adapter.save(place)
        trained.adapter.close()
        began = time.perf_counter()
        Adapter.on_base(load_package(place), base).close()
        back_s = time.perf_counter() - began
        adapter_bytes = sum(file.stat().st_size for file in place.iterdir())
    base_bytes = sum(p.numel() * p.element_size() for p in base.model.parameters())
    steps = {"steps": len(_STEPS), "update_steps": len(_UPDATE)}
    return Operation(**steps, back_s=back_s, adapter_bytes=adapter_bytes, base_bytes=base_bytes)
