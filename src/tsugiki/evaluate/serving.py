"""What it costs to answer from a saved package, for a process that has loaded libraries and nothing else."""

from pathlib import Path

from tsugiki.base.memory import PeakMemory, held_bytes, mapped_bytes, release_freed
from tsugiki.base.model import load_base
from tsugiki.evaluate.measure import Clock, infer_flops, latency_ms_p50
from tsugiki.evaluate.method import METHODS, Job
from tsugiki.spec import Spec

_SAMPLE_ROWS = 64
_WEIGHTS = ".safetensors"


class Serving(Spec):
    """Costs of answering; see `Result` for each."""

    latency_ms_p50: float
    latency_ms_p50_batch32: float
    infer_flops: int
    serve_peak_bytes: int
    load_s: float


def measure_serving(job: Job, folder: Path) -> Serving:
    """Load a package and answer some of the test rows.

    Args:
        job: that the package came of.
        folder: of the package.
    """
    method = METHODS.parse(job.method)
    # Libraries bring in parts of themselves on first use, which is no memory of the package.
    load_base(job.base, precision=job.precision, exit=1)
    release_freed()
    held, mapped = held_bytes(), mapped_bytes(_WEIGHTS)
    step = max(1, len(job.test) // _SAMPLE_ROWS)
    rows = job.test.take(range(0, len(job.test), step)[:_SAMPLE_ROWS])
    with PeakMemory() as memory:
        clock = Clock()
        predict = method.load(folder, job)
        load_s = clock.seconds
        one, many = latency_ms_p50(predict, rows), latency_ms_p50(predict, rows, batch=32)
    # Weights in float32 are read from mapped files: of these, the layers that were run count too.
    mapped = max(0, mapped_bytes(_WEIGHTS) - mapped)
    return Serving(
        latency_ms_p50=one,
        latency_ms_p50_batch32=many,
        infer_flops=infer_flops(predict, rows),
        serve_peak_bytes=max(0, memory.peak_bytes - held) + mapped,
        load_s=load_s,
    )
