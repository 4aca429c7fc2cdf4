"""Every method on the same rows, seeds, precision and batch rule, one process after the other.

A run is kept under the digest of its job, so a comparison that was stopped goes on where it was, and one with more
methods or seeds does only what is new.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tsugiki.base.legible import require_legible
from tsugiki.base.model import load_base
from tsugiki.base.tokens import MAX_LENGTH
from tsugiki.data.checks import check, require_learnable
from tsugiki.data.rows import Splits
from tsugiki.data.spelling import merged
from tsugiki.data.split import subsample, with_validation
from tsugiki.errors import RowsError
from tsugiki.evaluate.bench import Bench, Run, bench
from tsugiki.evaluate.comparison import Comparison, differences
from tsugiki.evaluate.method import EPOCHS, Job, Method, parse_methods
from tsugiki.i18n import warn
from tsugiki.tasks.task import task_for
from tsugiki.train.config import Config
from tsugiki.train.domains import domains_in

# Points of full fine-tuning's validation score that may be missing where a method has reached its target.
_MARGIN = 0.01
_BEYOND = 3.0


def compare(
    splits: Splits,
    *,
    dataset: str,
    methods: Sequence[str],
    out: Path,
    seeds: int = 3,
    base: str | None = None,
    config: Config | None = None,
    rates: Mapping[str, float] | None = None,
) -> Comparison:
    """Train, measure and report; a folder per run is kept beside what `Comparison.write` writes.

    Args:
        splits: rows; validation is split off where there is none.
        dataset: what the rows are called.
        methods: names as `parse_methods` takes them, in the order of the tables.
        out: folder for everything; runs that are there already are kept.
        seeds: number of runs of each method; learning rates are chosen on the first.
        base: folder or hub name; None takes the one of `config`.
        config: precision, length, batch rule, epochs, first seed and number of rows, for all methods alike; where it
            names no epochs, methods but ours have five.
        rates: learning rates by method, where they were chosen on other rows of the same set.

    Raises:
        RowsError: the rows cannot be learnt from, there are none to report on, or a method needs to know their domains.
        ConfigError: no such method.
        BaseModelError: a method cannot do with this base.
        MissingError: the base is not there.
        TrainingError: a run failed; what was finished is kept.
    """
    config = config or Config()
    config = config.model_copy(update={"base": base or config.base})
    parsed = parse_methods(methods, own={"tsugiki": {"config": config}})
    job = _job(splits, dataset, config)
    for method in parsed:
        method.require(job)
    numbers = range(job.seed, job.seed + seeds)
    # Full fine-tuning first: the target stands before anything else is timed.
    order = sorted(parsed, key=lambda method: method.name != "full")
    found: dict[str, list[Run]] = {}
    target_score = None
    with bench(out / "runs", sum(_planned(m, seeds, rates or {}) for m in parsed)) as place:
        for method in order:
            found[method.name] = _runs(method, job, numbers, place, (rates or {}).get(method.name))
            if method.name == "full":
                target_score = float(np.mean([run.own.validation_score for run in found["full"]])) - _MARGIN
    results = tuple(r.against(target_score) for m in parsed for run in found[m.name] for r in run.results)
    correct = {m.name: np.stack([run.correct for run in found[m.name]]) for m in parsed}
    comparison = Comparison(results, differences(results, correct), target_score, correct)
    comparison.write(out)
    return comparison


def _job(splits: Splits, dataset: str, config: Config) -> Job:
    """What all jobs have in common."""
    splits = merged(splits, config.data.grades) if config.data.merge_labels else splits
    require_learnable(splits)
    for finding in check(splits):
        warn(finding.code, **finding.facts)
    splits = with_validation(splits, share=config.data.validation_share, seed=config.train.seed)
    train, validation, test = splits.train, splits.validation, splits.test
    if test is None:
        raise RowsError("compare.no_test")
    if validation is None:
        raise RowsError("compare.no_validation")
    assert train is not None and train.labels is not None
    if config.train.max_rows is not None:
        train = train.take(subsample(train.strata, config.train.max_rows, config.train.seed))
    domains_in(train)  # a run would refuse too few of them, after others have trained
    base = load_base(config.base, precision=config.precision, exit=1)
    max_length = min(config.data.max_length or MAX_LENGTH, base.max_length)
    require_legible(base, train.texts, max_length, force=config.data.illegible == "warn")
    return Job(
        dataset=dataset,
        method={},
        train=train,
        validation=validation,
        test=test,
        task=task_for(train, config.data),
        base=config.base,
        precision="bf16" if base.dtype is torch.bfloat16 else "fp32",
        max_length=max_length,
        batch_tokens=config.train.batch_tokens,
        batch_rows=config.train.batch_rows,
        epochs=config.train.epochs or EPOCHS,
        seed=config.train.seed,
        target_precision=config.train.target_precision,
    )


def _planned(method: Method, seeds: int, rates: Mapping[str, float]) -> int:
    """How many runs a method takes, if none of its rates leads beyond them."""
    if not method.drawn:
        return 1
    return seeds if method.name in rates else max(1, len(method.rates)) + seeds - 1


def _runs(method: Method, job: Job, seeds: Sequence[int], place: Bench, rate: float | None = None) -> list[Run]:
    """The runs of one method, one for each seed, all at one rate: the given one, or the best under the first seed."""

    def run(seed: int, rate: float | None) -> Run:
        own = {"method": method.model_dump(mode="json"), "seed": seed, "learning_rate": rate}
        return place.run(method.name, job.model_copy(update=own))

    if not method.drawn:
        only = run(seeds[0], rate)
        return [replace(only, results=[r.model_copy(update={"seed": seed}) for r in only.results]) for seed in seeds]
    if rate is not None or not method.rates:
        return [run(seed, rate) for seed in seeds]
    tried: dict[float, Run] = {}

    def scored(rate: float) -> float:
        tried[rate] = tried[rate] if rate in tried else run(seeds[0], rate)
        return tried[rate].own.validation_score

    # Up the hill from the middle, down where that is no gain; one step above the edge, since a baseline whose best rate
    # lies beyond its sweep makes us look good.
    grid = (*method.rates, _BEYOND * method.rates[-1])
    at = len(method.rates) // 2
    while at + 1 < len(grid) and scored(grid[at + 1]) > scored(grid[at]):
        at += 1
    while at > 0 and scored(grid[at - 1]) > scored(grid[at]):
        at -= 1
    best = grid[at]
    sweep_s = sum(t.own.train_s for t in tried.values())
    runs = [tried[best], *(run(seed, best) for seed in seeds[1:])]
    return [replace(r, results=[row.model_copy(update={"sweep_s": sweep_s}) for row in r.results]) for r in runs]
