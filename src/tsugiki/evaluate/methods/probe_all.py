"""Logistic regression on all states, embeddings included."""

from pathlib import Path
from typing import ClassVar, Literal

from tsugiki.base.model import load_base
from tsugiki.evaluate.method import Job, Method, Outcome, Predict
from tsugiki.evaluate.probe import fit_probe, load_probe


class ProbeAll(Method):
    """A probe of what enters and leaves every layer."""

    kind: Literal["probe_all"] = "probe_all"
    drawn: ClassVar[bool] = False

    def fit(self, job: Job) -> Outcome:
        """Pool and fit."""
        base = load_base(job.base, precision=job.precision)
        return fit_probe(job, base, range(base.num_layers + 1))

    def load(self, folder: Path, job: Job) -> Predict:
        """The head, and the whole base."""
        base = load_base(job.base, precision=job.precision)
        return load_probe(folder, base, range(base.num_layers + 1), job)
