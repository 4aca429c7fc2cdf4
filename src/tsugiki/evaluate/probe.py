"""Logistic regression on mean-pooled states of the frozen base: the baseline that every module has to beat."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from tsugiki.adapt.reader import mean_pool
from tsugiki.base.model import Base
from tsugiki.base.suffix import run_states
from tsugiki.base.tokens import encode, pad
from tsugiki.data.batches import length_batches
from tsugiki.data.rows import Rows
from tsugiki.evaluate.measure import Clock
from tsugiki.evaluate.method import Job, Logits, Outcome, Predict

Floats = NDArray[np.float32]

# Inverse strengths of the penalty, on standardised features.
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1)

_FILE = "probe.safetensors"
_MAX_STEPS = 200
# A logit beyond doubt.
_SURE = 10.0


def fit_probe(job: Job, base: Base, states: Sequence[int]) -> Outcome:
    """Pool once, fit for each strength, keep the best on validation.

    Args:
        job: rows and precision.
        base: in the job's precision.
        states: numbers of the states that are read, ascending.
    """
    clock = Clock()
    features = pooled(base, job.train.texts, states, job.max_length)
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    features = (features - mean) / scale
    cache_s = clock.seconds
    machines = _machines(job)
    curve: list[tuple[float, float]] = []
    best: tuple[float, Tensor, Tensor] | None = None
    with clock.paused():
        held = torch.from_numpy(pooled(base, job.validation.texts, states, job.max_length))
    for strength in STRENGTHS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fit that stopped early is judged by its score too
            for machine in machines:
                machine.fit(features, strength)
        weight, bias = _folded(machines, len(job.labels), mean, scale)
        seconds = clock.seconds
        with clock.paused():
            score = job.validation_score(lambda _, w=weight, b=bias: functional.linear(held, w, b).numpy())  # type: ignore[misc]
        if best is None or score > best[0]:
            best = (score, weight, bias)
        curve.append((seconds, best[0]))
    assert best is not None
    _, weight, bias = best
    return Outcome(
        variant=f"{len(states)} state" + ("s" if len(states) > 1 else ""),
        curve=tuple(curve),
        num_trainable=weight.numel() + bias.numel(),
        train_s=curve[-1][0],
        cache_s=cache_s,
        predict=_predictor(base, states, weight, bias, job),
        save=lambda folder: save_file({"weight": weight, "bias": bias}, folder / _FILE),
    )


def load_probe(folder: Path, base: Base, states: Sequence[int], job: Job) -> Predict:
    """A probe that was saved, on its base."""
    tensors = load_file(folder / _FILE)
    return _predictor(base, states, tensors["weight"], tensors["bias"], job)


@torch.inference_mode()
def pooled(base: Base, texts: Sequence[str], states: Sequence[int], max_length: int) -> Floats:
    """Mean over the tokens of some states, state by state: N texts to (N, K * d)."""
    ids = encode(base, texts, max_length)
    out = np.zeros((len(texts), len(states) * base.width), dtype=np.float32)
    for rows in length_batches([len(row) for row in ids], base.batch_tokens, base.batch_tokens):
        batch, mask = (tensor.to(base.device) for tensor in pad([ids[i] for i in rows]))
        found = run_states(base.model, base.anatomy, batch, mask, states)
        out[rows] = torch.cat([mean_pool(found[s], mask) for s in states], dim=1).cpu().numpy()
    return out


@dataclass(frozen=True)
class _Machine:
    """A logistic regression for some of the labels.

    Args:
        machine: of sklearn; None where all rows are alike, and nothing can be learnt.
        wanted: what it is to learn, (N,).
        places: of the labels that it scores: one for each of its classes, or the one that a row has or has not.
    """

    machine: LogisticRegression | None
    wanted: NDArray[Any]
    places: NDArray[Any]

    def fit(self, features: Floats, strength: float) -> None:
        """Go on from the strength before."""
        if self.machine is not None:
            self.machine.set_params(C=strength).fit(features, self.wanted)

    def put(self, weight: NDArray[Any], bias: NDArray[Any]) -> None:
        """Put what was learnt into weight (C, F) and bias (C,)."""
        if self.machine is None:
            bias[self.places] = _SURE if self.wanted[0] > 0 else -_SURE
            return
        found, shift = self.machine.coef_, self.machine.intercept_
        if len(found) == 1 and len(self.places) == 2:  # with two classes sklearn keeps the second alone
            found, shift = np.concatenate([-found, found]) / 2, np.concatenate([-shift, shift]) / 2
        weight[self.places], bias[self.places] = found, shift


def _machines(job: Job) -> list[_Machine]:
    """One for all labels that rows have, or one for each where rows have any number."""
    wanted = job.targets
    if wanted.dim() == 1:
        return [_machine(job, wanted.numpy(), np.unique(wanted.numpy()))]
    columns = job.task.indicator(wanted).T.numpy()
    return [_machine(job, column, np.array([at])) for at, column in enumerate(columns)]


def _machine(job: Job, wanted: NDArray[Any], places: NDArray[Any]) -> _Machine:
    learns = len(np.unique(wanted)) > 1
    machine = LogisticRegression(max_iter=_MAX_STEPS, warm_start=True, random_state=job.seed) if learns else None
    return _Machine(machine, wanted, places)


def _folded(machines: Sequence[_Machine], num_classes: int, mean: Floats, scale: Floats) -> tuple[Tensor, Tensor]:
    """Weight (C, F) and bias (C,) for features as they are; a label that no row has is never answered."""
    weight, bias = np.zeros((num_classes, len(mean))), np.full(num_classes, -_SURE)
    for machine in machines:
        machine.put(weight, bias)
    weight = weight / scale
    return torch.from_numpy(np.ascontiguousarray(weight)).float(), torch.from_numpy(bias - weight @ mean).float()


def _predictor(base: Base, states: Sequence[int], weight: Tensor, bias: Tensor, job: Job) -> Predict:
    def predict(rows: Rows) -> Logits:
        features = torch.from_numpy(pooled(base, rows.texts, states, job.max_length))
        return functional.linear(features, weight, bias).numpy()

    return predict
