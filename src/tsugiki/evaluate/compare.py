"""Every method on the same rows, seeds, precision and batch rule, one process after the other.

A run is kept under the digest of its job, so a comparison that was stopped goes on where it was, and one with more
methods or seeds does only what is new.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from tsugiki.base.legible import require_legible
from tsugiki.base.model import load_base
from tsugiki.base.tokens import MAX_LENGTH
from tsugiki.data.checks import check, require_learnable
from tsugiki.data.rows import Splits
from tsugiki.data.spelling import merged
from tsugiki.data.split import subsample, with_validation
from tsugiki.errors import RowsError, TrainingError
from tsugiki.evaluate.method import EPOCHS, Job, Method, parse_methods
from tsugiki.evaluate.metrics import paired_bootstrap
from tsugiki.evaluate.result import Result, read_results, write_results
from tsugiki.evaluate.worker import LOG, PREDICTIONS, RESULTS
from tsugiki.i18n import language, text, warn
from tsugiki.progress import bars
from tsugiki.report.html import comparison_page, comparison_part
from tsugiki.report.plots import coverage_by_method, png, score_by_parameters, score_by_time
from tsugiki.report.tables import comparison_tables, plain
from tsugiki.report.verdicts import SIMPLE, verdicts
from tsugiki.spec import Spec
from tsugiki.tasks.task import task_for
from tsugiki.train.config import Config

# Points of full fine-tuning's validation score that may be missing where a method has reached its target.
_MARGIN = 0.01
_LEVEL = 0.90
_BEYOND = 3.0

Correct = NDArray[np.float32]


class Difference(Spec):
    """How a method's score differs from another's, by paired bootstrap over rows and seeds.

    Args:
        method: of which this is said.
        against: the other one.
        difference_points: its score less that of the other.
        low_points: lower end of the interval.
        high_points: upper end.
        level: of the interval (0..1).
    """

    method: str
    against: str
    difference_points: float
    low_points: float
    high_points: float
    level: float = _LEVEL


@dataclass(frozen=True)
class Comparison:
    """Everything a comparison found.

    Args:
        results: rows by method, seed and candidate.
        differences: of each method against `full`, and against the better of `probe-all` and `tfidf` on validation.
        target_score: mean validation score of full fine-tuning less one point; None where it is not among the methods.
        correct: how right the answer to each test row was under each seed, (S, N) 0..1, by method.
    """

    results: tuple[Result, ...]
    differences: tuple[Difference, ...]
    target_score: float | None
    correct: dict[str, Correct] = field(repr=False)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The results as plain data, as in `results.json`."""
        return [row.model_dump(mode="json") for row in self.results]

    @property
    def verdicts(self) -> list[str]:
        """What it comes to, in sentences."""
        return list(verdicts(self.rows, self._plain_differences))

    def table(self) -> Group:
        """For a terminal."""
        return Group(comparison_tables(self.rows, self._plain_differences), *map(Text, self.verdicts))

    def write(self, out: Path) -> None:
        """Write `results.json`, `differences.json`, `table.txt`, three pictures and `compare.html`."""
        write_results(out / "results.json", self.results)
        (out / "differences.json").write_text(json.dumps(self._plain_differences, indent=1), encoding="utf-8")
        (out / "table.txt").write_text(plain(self.table()), encoding="utf-8")
        pictures = self._pictures()
        for caption, picture in pictures.items():
            (out / f"{caption.partition('.')[2]}.png").write_bytes(picture)
        page = comparison_page(self.rows, self._plain_differences, pictures)
        (out / "compare.html").write_text(page, encoding="utf-8")

    def _repr_html_(self) -> str:
        """In a notebook: what `compare.html` shows."""
        return comparison_part(self.rows, self._plain_differences, self._pictures())

    @property
    def _plain_differences(self) -> list[dict[str, Any]]:
        return [d.model_dump(mode="json") for d in self.differences]

    def _pictures(self) -> dict[str, bytes]:
        """PNG files by the key of their caption."""
        return {
            "report.score_by_time": png(score_by_time, self.rows),
            "report.score_by_parameters": png(score_by_parameters, self.rows),
            "report.coverage": png(coverage_by_method, self.rows),
        }


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
        RowsError: the rows cannot be learnt from, or there are none to report on.
        ConfigError: no such method.
        MissingError: the base is not there.
        TrainingError: a run failed; what was finished is kept.
    """
    config = config or Config()
    config = config.model_copy(update={"base": base or config.base})
    parsed = parse_methods(methods, own={"tsugiki": {"config": config}})
    job = _job(splits, dataset, config)
    numbers = range(job.seed, job.seed + seeds)
    # Full fine-tuning first: the target stands before anything else is timed.
    order = sorted(parsed, key=lambda method: method.name != "full")
    found: dict[str, list[_Run]] = {}
    target_score = None
    with _bench(out / "runs", sum(_planned(m, seeds, rates or {}) for m in parsed)) as bench:
        for method in order:
            found[method.name] = _runs(method, job, numbers, bench, (rates or {}).get(method.name))
            if method.name == "full":
                target_score = float(np.mean([run.own.validation_score for run in found["full"]])) - _MARGIN
    results = tuple(r.against(target_score) for m in parsed for run in found[m.name] for r in run.results)
    correct = {m.name: np.stack([run.correct for run in found[m.name]]) for m in parsed}
    comparison = Comparison(results, differences(results, correct), target_score, correct)
    comparison.write(out)
    return comparison


# --- what is run -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """One job that is done: its rows, and how right the answer to each test row was (N,), 0..1."""

    results: list[Result]
    correct: Correct

    @property
    def own(self) -> Result:
        """The row of the method itself."""
        return self.results[0]


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


def run_name(method: str, seed: int, digest: str) -> str:
    """What the folder of a run is called; `:` in a file's name means something else on Windows."""
    return f"{method.replace(':', '-')}-seed{seed}-{digest[:12]}"


@dataclass(frozen=True)
class _Bench:
    """Where jobs are done: one after the other, by one worker.

    Args:
        folder: of all runs.
        worker: waits for jobs.
        progress: how many are done, and which one is at work.
    """

    folder: Path
    worker: subprocess.Popen[str]
    progress: Progress

    def run(self, name: str, job: Job) -> _Run:
        """Do a job, unless it is done."""
        out = self.folder / run_name(name, job.seed, job.digest())
        key = "compare.run_at_rate" if job.learning_rate else "compare.run"
        task = self.progress.task_ids[0]
        shown = text(key, method=name, seed=job.seed, rate=f"{job.learning_rate or 0:g}")
        self.progress.update(task, description=shown, refresh=True)
        if not (out / RESULTS).exists():
            shutil.rmtree(out, ignore_errors=True)
            self._work(name, job, out)
        self.progress.advance(task)
        lines = (out / PREDICTIONS).read_text(encoding="utf-8").rstrip("\n").split("\n")
        answers = [json.loads(line) for line in lines]
        labels, found = ([answer[name] for answer in answers] for name in ("label", "prediction"))
        right = job.task.agreement(labels, found).numpy()
        return _Run(read_results(out / RESULTS), right)

    def _work(self, name: str, job: Job, out: Path) -> None:
        assert self.worker.stdin is not None and self.worker.stdout is not None
        self.worker.stdin.write(json.dumps([job.model_dump_json(), str(out)]) + "\n")
        self.worker.stdin.flush()
        code = self.worker.stdout.readline().strip()
        if code != "0":
            log = out / LOG
            reason = log.read_text(encoding="utf-8").strip().splitlines()[-1:] if log.exists() else []
            raise TrainingError("compare.failed", method=name, seed=job.seed, reason=" ".join(reason), log=log)


@contextmanager
def _bench(folder: Path, total: int) -> Iterator[_Bench]:
    folder.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    command = [sys.executable, "-m", "tsugiki.evaluate.worker"]
    # Whatever the console speaks, the worker's log is read as UTF-8.
    environment = {**os.environ, "TSUGIKI_LANG": language(), "PYTHONIOENCODING": "utf-8"}
    pipe = subprocess.PIPE
    with (
        bars(*columns) as progress,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="utf-8", env=environment) as worker,
    ):
        progress.add_task(text("compare.starting"), total=total)
        try:
            yield _Bench(folder, worker, progress)
        finally:
            worker.terminate()


def _planned(method: Method, seeds: int, rates: Mapping[str, float]) -> int:
    """How many runs a method takes, if none of its rates leads beyond them."""
    if not method.drawn:
        return 1
    return seeds if method.name in rates else max(1, len(method.rates)) + seeds - 1


def _runs(method: Method, job: Job, seeds: Sequence[int], bench: _Bench, rate: float | None = None) -> list[_Run]:
    """The runs of one method, one for each seed, all at one rate: the given one, or the best under the first seed."""

    def run(seed: int, rate: float | None) -> _Run:
        own = {"method": method.model_dump(mode="json"), "seed": seed, "learning_rate": rate}
        return bench.run(method.name, job.model_copy(update=own))

    if not method.drawn:
        only = run(seeds[0], rate)
        return [replace(only, results=[r.model_copy(update={"seed": seed}) for r in only.results]) for seed in seeds]
    if rate is not None or not method.rates:
        return [run(seed, rate) for seed in seeds]
    tried: dict[float, _Run] = {}

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


# --- what it says ----------------------------------------------------------------------------------------------------


def differences(results: Sequence[Result], correct: Mapping[str, Correct]) -> tuple[Difference, ...]:
    """Each method against full fine-tuning, and against the better of the two that train nothing inside the base.

    Args:
        results: rows by method and seed; which simple method is better is decided by their validation scores.
        correct: how right the answer to each test row was under each seed, (S, N) 0..1, by method; rows of several
            folds may stand side by side.
    """

    def validated(method: str) -> float:
        return float(np.mean([row.validation_score for row in results if row.won and row.method == method]))

    simple = [name for name in SIMPLE if name in correct]
    rivals = (["full"] if "full" in correct else []) + ([max(simple, key=validated)] if simple else [])
    return tuple(
        Difference(method=name, against=rival, **_interval(correct[name], correct[rival]))
        for rival in rivals
        for name in correct
        if name != rival
    )


def _interval(first: NDArray[Any], second: NDArray[Any]) -> dict[str, float]:
    return paired_bootstrap(first, second, level=_LEVEL)._asdict()
