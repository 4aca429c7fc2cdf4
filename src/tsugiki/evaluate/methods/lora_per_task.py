"""A LoRA for each domain, the one that a row names in action: rows are answered domain by domain."""

from typing import Literal

import numpy as np

from tsugiki.data.rows import Rows
from tsugiki.evaluate.finetune import predictor
from tsugiki.evaluate.method import Job, Logits, Predict
from tsugiki.evaluate.per_domain import Loras, NamedMethod


class LoraPerTask(NamedMethod):
    """Low-rank modules and a head for each domain; which one answers is given, where others have to find out."""

    kind: Literal["lora_per_task"] = "lora_per_task"

    def predictor(self, loras: Loras, job: Job) -> Predict:
        """Domain by domain."""

        def predict(rows: Rows) -> Logits:
            out = np.zeros((len(rows), len(job.labels)), dtype=np.float32)
            for number, own in loras.grouped(rows):
                out[own] = predictor(loras.active(number), loras.base, job)(rows.take(own))
            return out

        return predict
