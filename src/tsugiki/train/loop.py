"""The training loop: token-budget batches, warm-up and decay, early stopping, exact resume.

Every process works on its share of each batch and the loss is the sum over rows divided by the rows of the whole batch,
so any number of processes takes the same steps, but for the modules that each drops. What is random follows from
(seed, step), so a run that goes on from a checkpoint takes the steps that it would have taken. A batch goes forward and
back in parts, which changes its memory and not its gradient.
"""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from tsugiki.base.prefix_cache import CachedRows
from tsugiki.data.batches import length_batches
from tsugiki.errors import TrainingError
from tsugiki.progress import progress
from tsugiki.tasks.task import Task
from tsugiki.train.checkpoint import Checkpoint, Position
from tsugiki.train.config import TrainSettings
from tsugiki.train.learner import Learner
from tsugiki.train.scion import Scion
from tsugiki.train.trackers import plain, tracks

_FAR = 0.05
_STEPS, _FEWEST, _MOST = 200, 3, 6


@dataclass(frozen=True)
class Labelled:
    """Rows with their states, and what is to be answered to each.

    Args:
        rows: with their states (N).
        targets: of the task.
        task: whose targets they are.
        domains: number of each row's domain, -1 where it is not known, (N,); None where there are none.
    """

    rows: CachedRows
    targets: Tensor
    task: Task
    domains: Tensor | None = None

    def losses(self, logits: Tensor, indices: Sequence[int]) -> Tensor:
        """Of some rows, whose logits are (B, C): (B,)."""
        return self.task.losses(logits, self.targets[list(indices)].to(logits.device))

    def measure(self, scion: Scion) -> tuple[float, float]:
        """Score (0..1) and mean loss of what a scion answers."""
        return self.task.measure(scores(scion, self.rows), self.targets)


L = TypeVar("L", bound=Learner, contravariant=True)


class Learnable(Protocol[L]):
    """Rows that something learns from or is measured by."""

    @property
    def rows(self) -> CachedRows:
        """With their states."""

    def losses(self, found: Tensor, indices: Sequence[int]) -> Tensor:
        """Of some rows, for which the learner found this: (B,)."""

    def measure(self, learner: L, /) -> tuple[float, float]:
        """Score (0..1) and mean loss."""


@dataclass(frozen=True)
class Fit:
    """How a run went.

    Args:
        score: best score on validation (0..1).
        loss: mean loss there, which decides between equal scores.
        curve: (seconds of training, score on validation) after each epoch; validation passes are not counted.
        train_s: seconds of training.
        predicted_s: what the first steps foretold for the epochs that were run.
        is_over: whether another call would not go on.
    """

    score: float
    loss: float
    curve: tuple[tuple[float, float], ...]
    train_s: float
    predicted_s: float
    is_over: bool = True

    def reached(self, passes: int | None) -> bool:
        """Whether it went as far as is wanted; None is to its end."""
        return self.is_over or (passes is not None and len(self.curve) > passes)


def fit(
    scion: L,
    train: Learnable[L],
    held: Learnable[L],
    settings: TrainSettings,
    checkpoint: Checkpoint,
    label: str,
    to_beat: float = 0.0,
    began: float | None = None,
    passes: int | None = None,
) -> Fit:
    """Train a learner; it ends with the parameters of its best epoch.

    Args:
        scion: what is trained.
        train: training rows.
        held: validation rows.
        settings: of the run.
        checkpoint: where the run is kept, and where it goes on from.
        label: of the progress bar and the trackers.
        to_beat: score of another run; one that is five points behind it after half of its epochs is given up.
        began: when the making of the scion began, on the clock of `time.perf_counter`; None: now.
        passes: over the rows, after which it stops for now and is kept, so that another call goes on; None: all.

    Raises:
        TrainingError: the loss is not a number; the last good step is kept in the checkpoint.
    """
    began = began or time.perf_counter()
    accelerator = Accelerator(
        log_with=list(settings.trackers) or None, project_dir=str(tracks()) if settings.trackers else None
    )
    optimiser = torch.optim.AdamW(
        scion.groups(
            settings.learning_rate, settings.reader_learning_rate, settings.head_learning_rate, settings.weight_decay
        )
    )
    lengths = train.rows.lengths
    epochs = num_passes(settings, len(batches_of(lengths, settings, 0)))
    steps = [batches_of(lengths, settings, epoch) for epoch in range(epochs)]
    total = sum(map(len, steps))
    schedule = LambdaLR(optimiser, lambda step: _rate(step, total, settings.warmup_share))
    model = accelerator.prepare_model(scion) if accelerator.num_processes > 1 else scion
    optimiser = accelerator.prepare_optimizer(optimiser)
    if settings.trackers:
        accelerator.init_trackers(checkpoint.folder.name, config=plain(settings.model_dump(exclude={"trackers"})))

    def keep(at: Position) -> None:
        # All processes stand at the same step; one of them writes.
        if accelerator.is_main_process:
            checkpoint.save(scion, optimiser, schedule, at)

    def is_over(at: Position) -> bool:
        hopeless = 2 * at.epoch >= epochs and at.best_score < to_beat - _FAR
        return at.epoch >= epochs or hopeless or at.epochs_without_gain >= settings.patience

    prepared_s = time.perf_counter() - began
    at = checkpoint.resume(scion, optimiser, schedule) or Position.start(*held.measure(scion), scion, prepared_s)
    predicted_s, saved = 0.0, time.perf_counter()
    ahead = range(at.epoch, epochs if passes is None else min(passes, epochs))
    with progress(label, sum(len(batch) for epoch in ahead for batch in steps[epoch])) as advance:
        for epoch in ahead:
            if is_over(at):
                break
            began, before_s, first = time.perf_counter(), at.train_s, at.batch
            for number, batch in enumerate(steps[epoch]):
                if number < first:
                    continue
                step(model, scion, train, batch, settings, at.step, accelerator)
                if not _is_finite(scion):
                    optimiser.zero_grad()
                    keep(at)
                    _close(accelerator)
                    setting = "learning_rate" if scion.grafts else "reader_learning_rate"
                    rate = getattr(settings, setting)
                    raise TrainingError("train.not_a_number", step=at.step, rate=rate, lower=rate / 3, setting=setting)
                optimiser.step()
                scion.stepped(lambda tensor: accelerator.reduce(tensor, reduction="mean"))
                schedule.step()
                optimiser.zero_grad()
                at = at.stepped(number + 1)
                advance(len(batch))
                if not predicted_s and (number >= first + 2 or number + 1 == len(steps[epoch])):
                    tokens = sum(padded(train.rows, b) for b in steps[epoch][first : number + 1])
                    share = tokens / sum(padded(train.rows, b) for b in steps[epoch])
                    predicted_s = (at.train_s - before_s + time.perf_counter() - began) / share
                if time.perf_counter() - saved > settings.checkpoint_s:
                    at = at.spent(time.perf_counter() - began)
                    began = time.perf_counter()
                    keep(at)
                    saved = time.perf_counter()
            at = at.spent(time.perf_counter() - began)
            score, held_loss = held.measure(scion)
            at = at.scored(score, held_loss, scion)
            if settings.trackers:
                accelerator.log({f"{label}/score": score, f"{label}/loss": held_loss}, step=at.step)
    over = is_over(at)
    if not over:
        # Each process goes on from what it kept itself.
        checkpoint.save(scion, optimiser, schedule, at)
    at.restore_best(scion)
    _close(accelerator)
    return Fit(at.best_score, at.best_loss, tuple(at.curve), at.train_s, predicted_s * at.epoch, over)


@torch.no_grad()
def scores(scion: Scion, rows: CachedRows) -> Tensor:
    """Logits of all rows, (N, C), on the CPU."""
    scion.set_training(None)
    out = torch.zeros(len(rows), scion.classifier.bias.shape[0])
    for batch in length_batches(rows.lengths, rows.base.batch_tokens, rows.base.batch_tokens):
        out[batch] = scion(rows, batch).float().cpu()
    return out


def step(
    model: torch.nn.Module,
    scion: L,
    train: Learnable[L],
    batch: Sequence[int],
    settings: TrainSettings,
    number: int,
    accelerator: Accelerator,
) -> None:
    """Add the gradient of a batch, whose share of this process goes forward and back in parts."""
    world, rank = accelerator.num_processes, accelerator.process_index
    # A process without a row still takes part, with weight 0, since all meet in the backward pass.
    own = list(batch[rank::world]) or [batch[0]]
    weight = 1.0 if batch[rank::world] else 0.0
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + number * world + rank)
    scion.set_training(settings.module_dropout, generator)
    # What is kept for the way back is that of a part of the batch; processes meet at their last part. Readers keep
    # little, and are quicker with the whole.
    *parts, last = parts_of(train.rows, own) if scion.grafts else [own]
    for rows in (*parts, last):
        with nullcontext() if rows is last else accelerator.no_sync(model):
            # Processes average their gradients; the mean over the whole batch is wanted.
            loss = train.losses(model(train.rows, rows), rows).sum()
            if (penalty := scion.penalty()) is not None:
                loss = loss + penalty * len(rows)
            accelerator.backward(loss * (weight * world / len(batch)))


def parts_of(rows: CachedRows, batch: list[int]) -> list[list[int]]:
    """A batch in parts that go forward and back at once."""
    most = max(1, rows.base.step_tokens // max(rows.lengths[i] for i in batch))
    return [batch[at : at + most] for at in range(0, len(batch), most)]


def _is_finite(learner: Learner) -> bool:
    """Whether the step may be taken: where the loss is not a number the gradient is none either, and not only there.

    Processes share their gradients, so all of them come to the same answer.
    """
    norm = torch.nn.utils.get_total_norm([p.grad for p in learner.parameters() if p.grad is not None])
    return math.isfinite(float(norm))


def _close(accelerator: Accelerator) -> None:
    """Finish the trackers; the group of processes stays for the next candidate."""
    for tracker in accelerator.trackers:
        tracker.finish()


def num_passes(settings: TrainSettings, steps: int) -> int:
    """Passes over rows, one of which has so many steps; `explanation/measurements` has the figures."""
    return settings.epochs or min(_MOST, max(_FEWEST, -(-_STEPS // steps)))


def batches_of(lengths: Sequence[int], settings: TrainSettings, epoch: int) -> list[list[int]]:
    """The steps of one pass."""
    return length_batches(lengths, settings.batch_tokens, settings.batch_rows, shuffle_seed=(settings.seed, epoch))


def padded(rows: CachedRows, batch: Sequence[int]) -> int:
    """Tokens of a batch, padding included."""
    return len(batch) * max(len(rows.token_ids[i]) for i in batch)


def _rate(step: int, total: int, warmup_share: float) -> float:
    """Share of the peak rate: a linear rise, then half a cosine down to zero."""
    rise = max(1, round(warmup_share * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, total - rise)))
