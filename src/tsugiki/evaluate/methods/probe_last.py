"""Logistic regression on the last state."""

from pathlib import Path
from typing import ClassVar, Literal

from tsugiki.base.model import load_base
from tsugiki.evaluate.method import Job, Method, Outcome, Predict
from tsugiki.evaluate.probe import fit_probe, load_probe


class ProbeLast(Method):
    """A probe of what leaves the last layer."""

    kind: Literal["probe_last"] = "probe_last"
    drawn: ClassVar[bool] = False

    def fit(self, job: Job) -> Outcome:
        """Pool and fit."""
        base = load_base(job.base, precision=job.precision)
        return fit_probe(job, base, [base.num_layers])

    def load(self, folder: Path, job: Job) -> Predict:
        """The head, and the whole base."""
        base = load_base(job.base, precision=job.precision)
        return load_probe(folder, base, [base.num_layers], job)
