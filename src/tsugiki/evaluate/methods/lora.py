"""LoRA as most people run it, through PEFT."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

from tsugiki.base.model import load_base
from tsugiki.evaluate.finetune import finetune, load_trained, predictor, save_trained, with_peft
from tsugiki.evaluate.lora import LoraMethod
from tsugiki.evaluate.method import Job, Outcome, Predict


class Lora(LoraMethod):
    """Low-rank modules on all linear layers, and a head."""

    kind: Literal["lora"] = "lora"

    def fit(self, job: Job) -> Outcome:
        """Train modules and head."""
        adapt = partial(with_peft, config=self.config)
        return finetune(job, self.open_base(job), adapt, partial(save_trained, dtype=job.dtype))

    def load(self, folder: Path, job: Job) -> Predict:
        """Modules merged into the weights, so that they cost nothing in an answer."""
        base = load_base(job.base, precision=job.precision)
        model = load_trained(folder, base, partial(with_peft, config=self.config), job)
        body: Any = model.body
        model.body = body.merge_and_unload()
        return predictor(model, base, job)
