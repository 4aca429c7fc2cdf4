"""One row of a comparison."""

import json
from collections.abc import Sequence
from pathlib import Path

from tsugiki.home import write_atomically
from tsugiki.spec import Spec


class Result(Spec):
    """What a method, or a candidate of its race, brought on one seed and what it cost.

    Args:
        dataset: what the rows are called.
        method: as tables call it.
        variant: what won (`head`, `readout`, `suffix b/e`) or the setting that was chosen.
        seed: of the run.
        won: False for a candidate that lost the race of its method.
        precision: `fp32` or `bf16`.
        learning_rate: of the run; None where there is none.
        metric: what `score` is.
        score: on the test rows (0..1).
        macro_f1: mean F1 over the classes there (0..1).
        validation_score: same metric as `score`, on the rows that were chosen by (0..1).
        curve: (seconds of training, best validation score so far).
        num_trainable: trained parameters.
        trainable_share: of the base's parameters (0..1); 1 where there is no base.
        train_s: seconds of training, without validation passes: for the method's own row of everything it tried, for a
            candidate of what it alone would have taken. The search for a learning rate is apart, in `sweep_s`.
        cache_s: seconds of `train_s` spent on states that later passes read.
        sweep_s: seconds of all runs on the first seed by which the learning rate was chosen.
        target_score: validation score to reach; None where full fine-tuning is not compared.
        time_to_target_s: seconds until the curve reached it; None where it never did.
        latency_ms_p50: median milliseconds of one answer.
        latency_ms_p50_batch32: of 32 answers in one call.
        infer_flops: torch operations of one answer, the mean over some rows.
        peak_bytes: highest memory of the whole run above the loaded base, without pages of files.
        serve_peak_bytes: highest memory of a process that loads and answers, above that of the libraries alone.
        load_s: seconds from the files to the first answer being possible, libraries loaded.
        package_bytes: what has to be shipped.
        calibration_error: how far confidence, calibrated on validation, is from the share of right answers (0..1).
        target_precision: that answers shall have which no person looks at (0..1).
        automatic_share: of the test rows, those so answered (0..1).
        automatic_precision: share of right answers among these (0..1); None where there are none.
        coverage: (share of test rows answered, share of right answers among them), from the surest rows to all.
    """

    dataset: str
    method: str
    variant: str
    seed: int
    won: bool
    precision: str
    learning_rate: float | None
    metric: str = "accuracy"
    score: float
    macro_f1: float
    validation_score: float
    curve: tuple[tuple[float, float], ...]
    num_trainable: int
    trainable_share: float
    train_s: float
    cache_s: float
    sweep_s: float = 0.0
    target_score: float | None = None
    time_to_target_s: float | None = None
    latency_ms_p50: float
    latency_ms_p50_batch32: float
    infer_flops: int
    peak_bytes: int
    serve_peak_bytes: int
    load_s: float
    package_bytes: int
    calibration_error: float | None = None
    target_precision: float | None = None
    automatic_share: float | None = None
    automatic_precision: float | None = None
    coverage: tuple[tuple[float, float], ...] = ()

    def against(self, target_score: float | None) -> "Result":
        """The same row with the time it took to a target."""
        reached = (s for s, score in self.curve if target_score is not None and score >= target_score)
        return self.model_copy(update={"target_score": target_score, "time_to_target_s": next(reached, None)})


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write rows as a plain list, all or nothing."""
    rows = [row.model_dump(mode="json") for row in results]
    write_atomically(path, json.dumps(rows, ensure_ascii=False, indent=1).encode())


def read_results(path: Path) -> list[Result]:
    """Rows as `write_results` wrote them."""
    return [Result.model_validate(row) for row in json.loads(path.read_text(encoding="utf-8"))]
