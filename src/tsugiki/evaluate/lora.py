"""What all methods have in common that train LoRAs as most people run them."""

from typing import Any, ClassVar

from pydantic import PositiveInt

from tsugiki.base.model import Base
from tsugiki.evaluate.finetune import own_base
from tsugiki.evaluate.method import Job, Method


class LoraMethod(Method):
    """Low-rank modules on all linear layers.

    Args:
        rank: of each module.
        alpha: of each module; its output is scaled by `alpha / rank`.
    """

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
