"""A LoRA for each domain, the one that a row names in action: rows are answered domain by domain."""

from pathlib import Path
from typing import Literal

import numpy as np

from tsugiki.data.rows import Rows
from tsugiki.evaluate.finetune import predictor
from tsugiki.evaluate.method import Job, Logits, Outcome, Predict
from tsugiki.evaluate.per_domain import DomainMethod, Loras, fit_named


class LoraPerTask(DomainMethod):
    """Low-rank modules and a head for each domain; which one answers is given, where others have to find out."""

    kind: Literal["lora_per_task"] = "lora_per_task"

    def fit(self, job: Job) -> Outcome:
        """Train each domain apart.

        Raises:
            RowsError: rows have no domains.
        """
        return fit_named(self, job, _predictor)

    def load(self, folder: Path, job: Job) -> Predict:
        """All of them on one base, not merged: another one may be wanted next."""
        return _predictor(Loras.load(self, folder, job), job)


def _predictor(loras: Loras, job: Job) -> Predict:
    def predict(rows: Rows) -> Logits:
        out = np.zeros((len(rows), len(job.labels)), dtype=np.float32)
        for number, own in loras.grouped(rows):
            out[own] = predictor(loras.active(number), loras.base, job)(rows.take(own))
        return out

    return predict
