"""Fine-tuning as a careful user runs it; `full`, `lora`, `bias` and `peft` differ in what they let move.

AdamW with decay on matrices only, linear warm-up and decay, clipped gradients, the base's own dropout, mean-pooled last
hidden state with dropout and a linear head, float32 weights under autocast where the precision is bfloat16. Batches
follow the same rule as everywhere in tsugiki, and the weights of the best epoch on validation are kept.
"""

from collections.abc import Callable, Mapping, Sequence
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
        return self.classify(self.pooled(ids, mask))

    def pooled(self, ids: Tensor, mask: Tensor, **named: Any) -> Tensor:
        """What the head reads: ids and mask (B, S) to (B, d); what is named goes to the body."""
        hidden = self.body(input_ids=ids, attention_mask=mask, **named).last_hidden_state
        # Virtual tokens of a prompt method stand before those of the text.
        return mean_pool(hidden[:, -mask.shape[1] :], mask)

    def classify(self, pooled: Tensor) -> Tensor:
        """Logits: (B, d) to (B, C)."""
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


def with_peft(body: nn.Module, config: Mapping[str, Any], names: Sequence[str] = ("default",)) -> nn.Module:
    """A body with the modules of a PEFT configuration, ready to train.

    Args:
        body: is changed.
        config: as PEFT writes it.
        names: of adapters that get modules of that kind each; the first one acts.
    """
    import peft

    # A configuration of a finished adapter says that it is only to be read; the task head is ours.
    settings = {**config, "inference_mode": False, "task_type": "FEATURE_EXTRACTION"}
    first, *others = names
    wrapped: Any = peft.get_peft_model(body, peft.get_peft_config(dict(settings)), adapter_name=first)
    for name in others:
        wrapped.add_adapter(name, peft.get_peft_config(dict(settings)))
    found: nn.Module = wrapped
    return found


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
    model = PooledClassifier(adapt(without_cache(base.model)), base.width, len(job.labels)).to(base.device)
    curve = fit_classifier(model, base, job, clock)
    return Outcome(
        variant=f"rate {job.learning_rate:g}",
        curve=curve,
        num_trainable=sum(tensor.numel() for tensor in model.trained().values()),
        train_s=curve[-1][0],
        cache_s=0.0,
        predict=predictor(model, base, job),
        save=lambda folder: save(model, folder),
    )


def fit_classifier(model: PooledClassifier, base: Base, job: Job, clock: Clock) -> tuple[tuple[float, float], ...]:
    """Train what moves in a classifier, and leave it at its best epoch on validation.

    Args:
        model: on the device of the base.
        base: that its body came of.
        job: rows, seed, precision, batch rule and learning rate.
        clock: that runs while it is trained.

    Returns:
        A curve, as `Outcome` has it; the seconds are those of the clock.
    """
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
    return tuple(curve)


def save_trained(model: PooledClassifier, folder: Path, dtype: torch.dtype) -> None:
    """Write what was trained, in the precision in which it is served."""
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in model.trained().items()}, folder / TRAINED)


def load_trained(folder: Path, base: Base, adapt: Adapt, job: Job) -> PooledClassifier:
    """Put what `save_trained` wrote on a base."""
    model = PooledClassifier(adapt(without_cache(base.model)), base.width, len(job.labels))
    model.load_state_dict(load_file(folder / TRAINED), strict=False)
    return model.to(base.device, job.dtype)


def predictor(model: PooledClassifier, base: Base, job: Job) -> Predict:
    """Answers of a classifier in the job's precision."""

    def predict(rows: Rows) -> Logits:
        if model.training:  # to go through all modules again would count in every answer
            model.eval()
        return answers(rows, base, job, lambda ids, mask, _: model(ids, mask))

    return predict


@torch.inference_mode()
def answers(rows: Rows, base: Base, job: Job, logits_of: Callable[[Tensor, Tensor, list[int]], Tensor]) -> Logits:
    """Answer rows batch by batch in the job's precision.

    Args:
        rows: N of them.
        base: whose tokenizer and device are used.
        job: its labels are those of the logits.
        logits_of: from ids and mask (B, S) and which rows they are of to logits (B, C).
    """
    ids = encode(base, rows.texts, job.max_length)
    out = np.zeros((len(rows), len(job.labels)), dtype=np.float32)
    with _autocast(base, job):
        for some in length_batches([len(row) for row in ids], base.batch_tokens, base.batch_tokens):
            batch, mask = pad([ids[i] for i in some])
            out[some] = logits_of(batch.to(base.device), mask.to(base.device), some).float().cpu().numpy()
    return out


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


def without_cache(model: nn.Module) -> nn.Module:
    """A model that does not keep keys and values that nobody reads, as a decoder would."""
    config: Any = model.config
    if hasattr(config, "use_cache"):
        config.use_cache = False
    return model
