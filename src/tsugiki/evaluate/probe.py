"""Logistic regression on mean-pooled states of the frozen base: the baseline that every module has to beat."""

import warnings
from collections.abc import Sequence
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
from tsugiki.evaluate.measure import Clock
from tsugiki.evaluate.method import Job, Logits, Outcome, Predict

Floats = NDArray[np.float32]

# Inverse strengths of the penalty, on standardised features.
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1)

_FILE = "probe.safetensors"
_MAX_STEPS = 200


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
    machines = _machines(job, features.shape[1])
    curve: list[tuple[float, float]] = []
    best: tuple[float, Tensor, Tensor] | None = None
    with clock.paused():
        held = torch.from_numpy(pooled(base, job.validation.texts, states, job.max_length))
    for strength in STRENGTHS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fit that stopped early is judged by its score too
            for machine, wanted in machines:
                machine.set_params(C=strength).fit(features, wanted)
        weight, bias = _folded([machine for machine, _ in machines], mean, scale)
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


class _Same:
    """Stands for a machine where all rows are alike, and so says nothing."""

    def __init__(self, num_features: int) -> None:
        self.coef_, self.intercept_ = np.zeros((1, num_features)), np.zeros(1)

    def set_params(self, **_: Any) -> "_Same":
        return self

    def fit(self, *_: Any) -> None:
        pass


def _machines(job: Job, num_features: int) -> list[tuple[Any, NDArray[Any]]]:
    """Machines and what each is to learn (N,): one for all labels, or one for each where rows have any number."""
    wanted = job.targets
    columns = [wanted.numpy()] if wanted.dim() == 1 else [*job.task.indicator(wanted).T.numpy()]
    settings = {"max_iter": _MAX_STEPS, "warm_start": True, "random_state": job.seed}
    return [(LogisticRegression(**settings) if len({*c}) > 1 else _Same(num_features), c) for c in columns]


def _folded(machines: Sequence[Any], mean: Floats, scale: Floats) -> tuple[Tensor, Tensor]:
    """Weight (C, F) and bias (C,) for features as they are."""
    weight = np.concatenate([machine.coef_ for machine in machines])
    bias = np.concatenate([machine.intercept_ for machine in machines])
    if len(machines) == 1 and len(weight) == 1:  # with two classes sklearn keeps the second alone
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / scale
    return torch.from_numpy(np.ascontiguousarray(weight)).float(), torch.from_numpy(bias - weight @ mean).float()


def _predictor(base: Base, states: Sequence[int], weight: Tensor, bias: Tensor, job: Job) -> Predict:
    def predict(texts: Sequence[str]) -> Logits:
        features = torch.from_numpy(pooled(base, texts, states, job.max_length))
        return functional.linear(features, weight, bias).numpy()

    return predict
