"""One method on one seed, in a process of its own: `python -m tsugiki.evaluate.worker JOB.json OUT_DIR`.

What it leaves holds no text of any row: `job.json` has digests in their place, `predictions.jsonl` has row number,
label and answer. `results.json` is written last, so a run is whole where that file is there.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tsugiki.errors import TsugikiError
from tsugiki.evaluate.measure import PeakMemory, folder_bytes, held_bytes
from tsugiki.evaluate.method import METHODS, Job, Method
from tsugiki.evaluate.result import Result, result
from tsugiki.evaluate.serving import Serving
from tsugiki.home import write_atomically

JOB, RESULTS, PREDICTIONS = "job.json", "results.json", "predictions.jsonl"


def work(job_file: Path, out: Path) -> None:
    """Do a job and write what came of it.

    Args:
        job_file: the job, with its rows.
        out: folder for the results; made if it is not there.
    """
    job = Job.model_validate_json(job_file.read_bytes())
    out.mkdir(parents=True, exist_ok=True)
    (out / JOB).write_text(json.dumps(job.facts(), ensure_ascii=False, indent=2), encoding="utf-8")
    method = METHODS.parse(job.method)
    held = held_bytes()
    base_params, base_bytes = _base(method, job)
    # A home of its own: states that were cached by an earlier run would make this one look faster than it is.
    with TemporaryDirectory(dir=out, prefix="home-") as home:
        os.environ["TSUGIKI_HOME"] = home
        with PeakMemory() as memory:
            outcome = method.fit(job)
        peak_bytes = max(0, memory.peak_bytes - held - base_bytes)
        found = []
        for number, tried in enumerate((outcome, *outcome.candidates)):
            answers = job.answers(tried.predict(job.test.texts))
            if number == 0:
                _write_predictions(out / PREDICTIONS, job, answers)
            package = Path(home) / f"package-{number}"
            package.mkdir()
            tried.save(package)
            found.append(
                result(
                    job,
                    method.name,
                    tried,
                    answers,
                    _serving(job_file, package),
                    won=number == 0,
                    base_params=base_params,
                    peak_bytes=peak_bytes,
                    package_bytes=folder_bytes(package),
                )
            )
    write_results(out / RESULTS, found)


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write rows as a plain list, all or nothing."""
    rows = [row.model_dump(mode="json") for row in results]
    write_atomically(path, json.dumps(rows, ensure_ascii=False, indent=1).encode())


def _base(method: Method, job: Job) -> tuple[int, int]:
    """Parameters of the base and what it takes to hold it, as the method loads it; it is let go again."""
    before = held_bytes()
    base = method.open_base(job)
    return (base.num_params, held_bytes() - before) if base else (0, 0)


def _write_predictions(path: Path, job: Job, answers: list[str]) -> None:
    labels = job.test.labels or ()
    rows = ({"row": i, "label": a, "prediction": b} for i, (a, b) in enumerate(zip(labels, answers, strict=True)))
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _serving(job_file: Path, package: Path) -> Serving:
    """What answering costs in a fresh process."""
    out = package.with_suffix(".json")
    command = [sys.executable, "-m", "tsugiki.evaluate.serving", str(job_file), str(package), str(out)]
    subprocess.run(command, check=True)
    return Serving.model_validate_json(out.read_bytes())


if __name__ == "__main__":
    try:
        work(Path(sys.argv[1]), Path(sys.argv[2]))
    except TsugikiError as error:
        sys.exit(str(error))
