"""Only the biases move (BitFit, Ben Zaken et al. 2022)."""

from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from torch import nn

from tsugiki.base.model import Base, load_base
from tsugiki.errors import BaseModelError
from tsugiki.evaluate.finetune import finetune, load_trained, own_base, predictor, save_trained
from tsugiki.evaluate.method import Job, Method, Outcome, Predict


class Bias(Method):
    """All biases of the base, and a head."""

    kind: Literal["bias"] = "bias"
    rates: ClassVar[tuple[float, ...]] = (3e-4, 1e-3, 3e-3)

    def open_base(self, job: Job) -> Base:
        """In float32, as full fine-tuning has it."""
        return own_base(job)

    def fit(self, job: Job) -> Outcome:
        """Train biases and head.

        Raises:
            BaseModelError: the base has no biases.
        """
        base = self.open_base(job)
        if not any(name.endswith("bias") for name, _ in base.model.named_parameters()):
            raise BaseModelError("evaluate.no_bias", base=base.name)
        return finetune(job, base, _biases, partial(save_trained, dtype=job.dtype))

    def load(self, folder: Path, job: Job) -> Predict:
        """The base with its own weights and the trained biases."""
        base = load_base(job.base, precision=job.precision)
        return predictor(load_trained(folder, base, _biases, job), base, job)


def _biases(body: nn.Module) -> nn.Module:
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    return body
