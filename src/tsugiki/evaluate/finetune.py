"""Fine-tuning as a careful user runs it; `full`, `lora`, `bias` and `peft` differ in what they let move.

AdamW with decay on matrices only, linear warm-up and decay, clipped gradients, the base's own dropout, mean-pooled last
hidden state with dropout and a linear head, float32 weights under autocast where the precision is bfloat16. Batches
follow the same rule as everywhere in tsugiki, and the weights of the best epoch on validation are kept.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from tsugiki.adapt.reader import mean_pool
from tsugiki.base.model import Base, load_base
from tsugiki.base.tokens import encode, pad
from tsugiki.data.batches import length_batches
from tsugiki.data.rows import Rows
from tsugiki.evaluate.measure import Clock
from tsugiki.evaluate.method import Job, Logits, Outcome, Predict

TRAINED = "trained.safetensors"

_DROPOUT = 0.1
_WARMUP_SHARE = 0.1
_WEIGHT_DECAY = 0.01
_MAX_NORM = 1.0


class PooledClassifier(nn.Module):
    """Mean over the tokens of the last hidden state, dropout, and a linear head.

    Args:
        body: a model without a task head, perhaps wrapped by PEFT.
        width: of its hidden state, d.
        num_classes: C.
    """

    def __init__(self, body: nn.Module, width: int, num_classes: int) -> None:
        super().__init__()
        self.body = body
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Linear(width, num_classes)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits: ids and mask (B, S) to (B, C)."""
        hidden = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
        # Virtual tokens of a prompt method stand before those of the text.
        pooled = mean_pool(hidden[:, -mask.shape[1] :], mask)
        logits: Tensor = self.head(self.dropout(pooled).to(self.head.weight.dtype))
        return logits

    def trained(self) -> dict[str, Tensor]:
        """The parameters that move, by name."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}


Adapt = Callable[[nn.Module], nn.Module]
"""Says which parameters of a frozen body move, or adds some: returns the body to train."""
Save = Callable[[PooledClassifier, Path], None]


def own_base(job: Job) -> Base:
    """The base with float32 weights of its own: those of the file are mapped, and would be copied when they move."""
    base = load_base(job.base, precision="fp32")
    for parameter in base.model.parameters():
        parameter.data = parameter.data.clone()
    return base


def with_peft(body: nn.Module, config: Mapping[str, Any]) -> nn.Module:
    """A body with the modules of a PEFT configuration, ready to train."""
    import peft

    # A configuration of a finished adapter says that it is only to be read; the task head is ours.
    settings = {**config, "inference_mode": False, "task_type": "FEATURE_EXTRACTION"}
    wrapped: nn.Module = peft.get_peft_model(body, peft.get_peft_config(settings))
    return wrapped


def finetune(job: Job, base: Base, adapt: Adapt, save: Save) -> Outcome:
    """Train on a job at its learning rate.

    Args:
        job: rows, seed, precision, batch rule and learning rate.
        base: from `own_base`.
        adapt: what moves, beside the head.
        save: writes the trained classifier.
    """
    assert job.learning_rate is not None
    torch.manual_seed(job.seed)
    clock = Clock()
    model = PooledClassifier(adapt(_without_cache(base.model)), base.width, len(job.labels)).to(base.device)
    predict = predictor(model, base, job)
    curve: list[tuple[float, float]] = []
    with TemporaryDirectory() as folder:
        best = Path(folder) / TRAINED
        for _ in _epochs(model, base, job):
            seconds = clock.seconds
            with clock.paused():
                score = job.validation_score(predict)
                if not curve or score > curve[-1][1]:
                    save_file({name: tensor.contiguous() for name, tensor in model.trained().items()}, best)
                curve.append((seconds, max(score, curve[-1][1] if curve else 0.0)))
        model.load_state_dict(load_file(best), strict=False)
    return Outcome(
        variant=f"rate {job.learning_rate:g}",
        curve=tuple(curve),
        num_trainable=sum(tensor.numel() for tensor in model.trained().values()),
        train_s=curve[-1][0],
        cache_s=0.0,
        predict=predict,
        save=lambda folder: save(model, folder),
    )


def save_trained(model: PooledClassifier, folder: Path, dtype: torch.dtype) -> None:
    """Write what was trained, in the precision in which it is served."""
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in model.trained().items()}, folder / TRAINED)


def load_trained(folder: Path, base: Base, adapt: Adapt, job: Job) -> PooledClassifier:
    """Put what `save_trained` wrote on a base."""
    model = PooledClassifier(adapt(_without_cache(base.model)), base.width, len(job.labels))
    model.load_state_dict(load_file(folder / TRAINED), strict=False)
    return model.to(base.device, job.dtype)


def predictor(model: PooledClassifier, base: Base, job: Job) -> Predict:
    """Answers of a classifier in the job's precision."""

    @torch.inference_mode()
    def predict(rows: Rows) -> Logits:
        model.eval()
        ids = encode(base, rows.texts, job.max_length)
        out = np.zeros((len(rows), len(job.labels)), dtype=np.float32)
        with _autocast(base, job):
            for some in length_batches([len(row) for row in ids], base.batch_tokens, base.batch_tokens):
                batch, mask = pad([ids[i] for i in some])
                out[some] = model(batch.to(base.device), mask.to(base.device)).float().cpu().numpy()
        return out

    return predict


def _epochs(model: PooledClassifier, base: Base, job: Job) -> Any:
    """Train one epoch for each value that is asked for."""
    ids, targets = encode(base, job.train.texts, job.max_length), job.targets
    lengths = [len(row) for row in ids]
    plan = [
        length_batches(lengths, job.batch_tokens, job.batch_rows, shuffle_seed=(job.seed, epoch))
        for epoch in range(job.epochs)
    ]
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(_groups(parameters), lr=job.learning_rate or 0.0, fused=True)
    schedule = LambdaLR(optimiser, _warm_up_and_decay(sum(map(len, plan))))
    for batches in plan:
        model.train()
        for rows in batches:
            batch, mask = pad([ids[i] for i in rows])
            with _autocast(base, job):
                logits = model(batch.to(base.device), mask.to(base.device))
            job.task.losses(logits.float(), targets[rows].to(base.device)).mean().backward()
            nn.utils.clip_grad_norm_(parameters, _MAX_NORM)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
        yield


def _groups(parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
    matrices = [p for p in parameters if p.dim() > 1]
    rest = [p for p in parameters if p.dim() < 2]
    return [{"params": matrices, "weight_decay": _WEIGHT_DECAY}, {"params": rest, "weight_decay": 0.0}]


def _warm_up_and_decay(num_steps: int) -> Callable[[int], float]:
    rise = max(1, round(_WARMUP_SHARE * num_steps))
    return lambda step: min((step + 1) / rise, max(0.0, (num_steps - step) / max(1, num_steps - rise)))


def _autocast(base: Base, job: Job) -> Any:
    return torch.autocast(base.device.type, torch.bfloat16, enabled=job.precision == "bf16")


def _without_cache(model: nn.Module) -> nn.Module:
    # A decoder would keep keys and values that nobody reads.
    config: Any = model.config
    if hasattr(config, "use_cache"):
        config.use_cache = False
    return model
