"""LoRA as most people run it, through PEFT."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import PositiveInt

from tsugiki.base.model import Base, load_base
from tsugiki.evaluate.finetune import finetune, load_trained, own_base, predictor, save_trained, with_peft
from tsugiki.evaluate.method import Job, Method, Outcome, Predict


class Lora(Method):
    """Low-rank modules on all linear layers, and a head.

    Args:
        rank: of each module.
        alpha: of each module; its output is scaled by `alpha / rank`.
    """

    kind: Literal["lora"] = "lora"
    rank: PositiveInt = 8
    alpha: PositiveInt = 16
    rates: ClassVar[tuple[float, ...]] = (3e-4, 1e-3, 3e-3)

    @property
    def config(self) -> dict[str, Any]:
        """As PEFT writes it."""
        return {"peft_type": "LORA", "r": self.rank, "lora_alpha": self.alpha, "target_modules": "all-linear"}

    def open_base(self, job: Job) -> Base:
        """In float32, as full fine-tuning has it."""
        return own_base(job)

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
