"""One method on one seed, in processes of its own: `python -m tsugiki.evaluate.worker JOB.json OUT_DIR`.

The worker loads libraries and computes nothing, so that it can be forked: one fork trains, and one for each package
measures what answering costs. Both begin with the same memory and pay for no import, which would take longer than many
a run. Without arguments the worker reads jobs from its input, `[JOB, OUT]` a line with the job itself in it, so that
its rows are never on the disk, and answers each with its exit code.

What it leaves holds no text of any row: `job.json` has digests in their place, `predictions.jsonl` has row number,
label and answer, and `log.txt` says of a fault where it was, not its message, which may quote a row. `results.json` is
written last, so a run is whole where that file is there.
"""

import json
import logging
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, NamedTuple

import torch

from tsugiki.base.kernels import lean_kernels
from tsugiki.base.memory import PeakMemory, held_bytes, release_freed
from tsugiki.base.model import built_in_folder
from tsugiki.evaluate.confidence import confidence_of
from tsugiki.evaluate.measure import folder_bytes
from tsugiki.evaluate.method import METHODS, Job, Method, Outcome
from tsugiki.evaluate.metrics import macro_f1
from tsugiki.evaluate.result import Result, write_results
from tsugiki.evaluate.serving import measure_serving
from tsugiki.faults import trace
from tsugiki.train.calibration import review_of, temperature_of

JOB, RESULTS, PREDICTIONS, LOG = "job.json", "results.json", "predictions.jsonl", "log.txt"
_FITTED, _SERVING = "fitted.json", "serving.json"


def work(job: Job, out: Path) -> int:
    """Do a job and write what came of it; what went wrong is in `log.txt`.

    Args:
        job: with its rows.
        out: folder for the results; made if it is not there.

    Returns:
        0, or the exit code of the step that failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / JOB).write_text(json.dumps(job.facts(), ensure_ascii=False, indent=2), encoding="utf-8")
    _import_for(job)
    with _scratch(out) as scratch:
        if code := _apart(_fit, job, out, scratch):
            return code
        rows: list[dict[str, Any]] = json.loads((scratch / _FITTED).read_bytes())
        for number, row in enumerate(rows):
            if code := _apart(_serve, job, out, scratch / str(number)):
                return code
            row |= json.loads((scratch / str(number) / _SERVING).read_bytes())
        write_results(out / RESULTS, [Result.model_validate(row) for row in rows])
    return 0


def _import_for(job: Job) -> None:
    """Import all that the job will use, without a tensor: a fork of threads or of a device would hang."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    METHODS.load(str(job.method["kind"]))
    place = job.base or built_in_folder()
    with torch.device("meta"):
        AutoModel.from_config(AutoConfig.from_pretrained(place, trust_remote_code=False))
    AutoTokenizer.from_pretrained(place, trust_remote_code=False)


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A folder for packages and states that are not kept, on the same disk."""
    with TemporaryDirectory(dir=out, prefix="scratch-") as folder:
        yield Path(folder)


def _apart(step: Callable[..., None], job: Job, out: Path, folder: Path) -> int:
    """Run a step in a fork of this process; what it prints is added to the log."""
    # A daemon: it ends with this process, whoever ends that.
    process = get_context("fork").Process(target=_logged, args=(step, job, out, folder), daemon=True)
    process.start()
    process.join()
    return process.exitcode or 0


def _logged(step: Callable[..., None], job: Job, out: Path, folder: Path) -> None:
    with (out / LOG).open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    _quote_no_row()
    try:
        step(job, out, folder)
    except Exception as error:  # noqa: BLE001 (an edge: every fault ends in the log)
        sys.stdout.flush()  # the last line of the log is the reason
        sys.stderr.write(trace(error))
        sys.exit(1)


def _quote_no_row() -> None:
    """Let the log have what tsugiki warns of, but for characters of rows, and nothing that other libraries say."""
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    ours = logging.StreamHandler()
    ours.addFilter(lambda record: getattr(record, "code", "") != "base.hardly_legible")
    logging.getLogger("tsugiki").addHandler(ours)


# --- the steps, each in a fork ---------------------------------------------------------------------------------------


def _fit(job: Job, out: Path, scratch: Path) -> None:
    method = METHODS.parse(job.method)
    held = held_bytes()
    base_params, base_bytes = _base(method, job)
    release_freed()
    # A home of its own: states that an earlier run kept would make this one look faster than it is.
    os.environ["TSUGIKI_HOME"] = str(scratch / "home")
    with lean_kernels(job.dtype), PeakMemory() as memory:
        outcome = method.fit(job)
    peak_bytes = max(0, memory.peak_bytes - held - base_bytes)
    shutil.rmtree(scratch / "home", ignore_errors=True)
    rows = []
    for number, tried in enumerate((outcome, *outcome.candidates)):
        (scratch / str(number)).mkdir()
        package = scratch / str(number) / "package"
        package.mkdir()
        tried.save(package)
        judged = _judged(job, tried)
        if number == 0:
            _write_predictions(out / PREDICTIONS, job, judged.answers)
        costs = {"peak_bytes": peak_bytes, "package_bytes": folder_bytes(package), "won": number == 0}
        rows.append(_row(job, method, tried, base_params) | judged.scores | costs)
    (scratch / _FITTED).write_text(json.dumps(rows), encoding="utf-8")


def _serve(job: Job, _: Path, folder: Path) -> None:
    (folder / _SERVING).write_text(measure_serving(job, folder / "package").model_dump_json(), encoding="utf-8")


def _base(method: Method, job: Job) -> tuple[int, int]:
    """Parameters of the base and what it takes to hold it, as the method loads it; it is let go again."""
    before = held_bytes()
    base = method.open_base(job)
    return (base.num_params, held_bytes() - before) if base else (0, 0)


class _Judged(NamedTuple):
    """Answers to the test rows, and what they are worth."""

    answers: list[str]
    scores: dict[str, Any]


def _judged(job: Job, outcome: Outcome) -> _Judged:
    """Thresholds and confidence of every method alike: from its own answers to the validation rows."""
    held = torch.from_numpy(outcome.predict(job.validation)).float()
    truth = job.task.targets(job.validation.labels or ())
    temperature = temperature_of(job.task, held, truth)
    task = job.task.fitted(held / temperature, truth)
    review = review_of(task, held / temperature, truth, job.target_precision)
    logits = torch.from_numpy(outcome.predict(job.test)).float() / temperature
    chosen, wanted = task.choose(logits), task.targets(job.test.labels or ())
    answers = task.names(chosen)
    confidence = confidence_of(task, logits, wanted, review)
    automatic = confidence.automatic
    scores = {
        "metric": task.metric,
        "score": float(task.match(chosen, wanted).mean()),
        "macro_f1": macro_f1(job.test, answers),
        "calibration_error": confidence.calibration_error,
        "coverage": confidence.coverage,
        "target_precision": job.target_precision,
        "automatic_share": automatic.share if automatic else None,
        "automatic_precision": automatic.precision if automatic and automatic.share else None,
    }
    return _Judged(answers, scores)


def _row(job: Job, method: Method, outcome: Outcome, base_params: int) -> dict[str, Any]:
    """What is known of a result before it is judged and served."""
    return {
        "dataset": job.dataset,
        "method": method.name,
        "variant": outcome.variant,
        "seed": job.seed,
        "precision": job.precision,
        "learning_rate": job.learning_rate,
        "validation_score": max(score for _, score in outcome.curve),
        "curve": outcome.curve,
        "num_trainable": outcome.num_trainable,
        "trainable_share": min(1.0, outcome.num_trainable / base_params) if base_params else 1.0,
        "train_s": outcome.train_s,
        "cache_s": outcome.cache_s,
    }


def _write_predictions(path: Path, job: Job, answers: list[str]) -> None:
    labels = job.test.labels or ()
    rows = ({"row": i, "label": a, "prediction": b} for i, (a, b) in enumerate(zip(labels, answers, strict=True)))
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _report(_kind: type[BaseException], error: BaseException, _frames: TracebackType | None) -> None:
    sys.stderr.write(trace(error))


def main(arguments: list[str]) -> int:
    """One job from the arguments, or one per line of the input."""
    if arguments:
        job_file, out = map(Path, arguments)
        return work(Job.model_validate_json(job_file.read_bytes()), out)
    for line in sys.stdin:
        job, folder = json.loads(line)
        code = work(Job.model_validate_json(job), Path(folder))
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.excepthook = _report
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exit in good order takes the fork along
    sys.exit(main(sys.argv[1:]))
