"""A LoRA for each domain, and rows of all domains in one batch: PEFT is told which one acts on which row."""

from typing import Literal

import numpy as np
from torch import Tensor

from tsugiki.data.rows import Rows
from tsugiki.evaluate.finetune import answers
from tsugiki.evaluate.method import Job, Logits, Predict
from tsugiki.evaluate.per_domain import Loras, NamedMethod


class MixedPeft(NamedMethod):
    """As `lora-per-task`, but for how a batch is answered."""

    kind: Literal["mixed_peft"] = "mixed_peft"

    def predictor(self, loras: Loras, job: Job) -> Predict:
        """All rows of a batch at once."""

        def predict(rows: Rows) -> Logits:
            number = {row: number for number, own in loras.grouped(rows) for row in own}
            known, model = sorted(number), loras.classifiers[0]

            def logits_of(ids: Tensor, mask: Tensor, some: list[int]) -> Tensor:
                asked = [number[known[i]] for i in some]
                pooled = model.pooled(ids, mask, adapter_names=[str(n) for n in asked])
                out = pooled.new_zeros(len(asked), len(job.labels))
                for n in set(asked):
                    own = [i for i, other in enumerate(asked) if other == n]
                    out[own] = loras.classifiers[n].classify(pooled[own]).to(out.dtype)
                return out

            out = np.zeros((len(rows), len(job.labels)), dtype=np.float32)
            if known:
                out[known] = answers(rows.take(known), loras.base, job, logits_of)
            return out

        return predict
