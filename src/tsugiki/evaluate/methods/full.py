"""Every parameter moves: what an adapter is measured against."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from safetensors.torch import load_file, save_file
from torch import nn

from tsugiki.base.model import Base, load_base
from tsugiki.evaluate.finetune import TRAINED, PooledClassifier, finetune, own_base, predictor
from tsugiki.evaluate.method import Job, Method, Outcome, Predict


class Full(Method):
    """Full fine-tuning; its package is a whole model."""

    kind: Literal["full"] = "full"
    rates: ClassVar[tuple[float, ...]] = (3e-5, 1e-4, 3e-4)

    def open_base(self, job: Job) -> Base:
        """With weights that may move."""
        return own_base(job)

    def fit(self, job: Job) -> Outcome:
        """Train base and head."""
        base = self.open_base(job)

        def save(model: PooledClassifier, folder: Path) -> None:
            body: Any = model.body
            body.save_pretrained(folder, state_dict={k: v.to(job.dtype) for k, v in body.state_dict().items()})
            base.tokenizer.save_pretrained(folder)
            save_file({k: v.to(job.dtype) for k, v in model.head.state_dict().items()}, folder / TRAINED)

        return finetune(job, base, _all, save)

    def load(self, folder: Path, job: Job) -> Predict:
        """The model that was saved; the base is not needed."""
        base = load_base(folder, precision=job.precision)
        model = PooledClassifier(base.model, base.width, len(job.labels))
        model.head.load_state_dict(load_file(folder / TRAINED))
        return predictor(model.to(base.device, job.dtype), base, job)


def _all(body: nn.Module) -> nn.Module:
    return body.requires_grad_(True)
