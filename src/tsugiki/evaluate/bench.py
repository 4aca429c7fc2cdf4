"""Where the runs of a comparison are done: one after the other, by one worker, and none twice."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tsugiki.errors import TrainingError
from tsugiki.evaluate.comparison import Correct
from tsugiki.evaluate.method import Job
from tsugiki.evaluate.result import Result, read_results
from tsugiki.evaluate.worker import LOG, PREDICTIONS, RESULTS
from tsugiki.i18n import language, text
from tsugiki.progress import bars


@dataclass(frozen=True)
class Run:
    """One job that is done: its rows, and how right the answer to each test row was (N,), 0..1."""

    results: list[Result]
    correct: Correct

    @property
    def own(self) -> Result:
        """The row of the method itself."""
        return self.results[0]


def run_name(method: str, seed: int, digest: str) -> str:
    """What the folder of a run is called; `:` in a file's name means something else on Windows."""
    return f"{method.replace(':', '-')}-seed{seed}-{digest[:12]}"


@dataclass(frozen=True)
class Bench:
    """Where jobs are done: one after the other, by one worker.

    Args:
        folder: of all runs.
        worker: waits for jobs.
        progress: how many are done, and which one is at work.
    """

    folder: Path
    worker: subprocess.Popen[str]
    progress: Progress

    def run(self, name: str, job: Job) -> Run:
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
        return Run(read_results(out / RESULTS), right)

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
def bench(folder: Path, total: int) -> Iterator[Bench]:
    """A bench with its worker and a bar, until the block ends.

    Args:
        folder: of all runs; made if it is not there.
        total: runs that are planned.
    """
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
            yield Bench(folder, worker, progress)
        finally:
            worker.terminate()
