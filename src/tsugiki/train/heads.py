"""The candidates that need no training steps: states, words, and both."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from tsugiki.data.lexicon import STRENGTHS, Lexicon
from tsugiki.manifest import HeadFacts, Placement
from tsugiki.train.candidate import Candidate
from tsugiki.train.head import PENALTIES, LinearHead, fit_path
from tsugiki.train.loop import Labelled

T = TypeVar("T")

_SHARES = (0.25, 0.5, 0.75)
# Margins of the lexicon are of no scale; this one is chosen on validation and kept in its weight.
_SHARPNESS = (1.0, 2.0, 4.0, 8.0)


def features_of(rows: Labelled, states: Sequence[int]) -> Tensor:
    """Pooled states side by side, (N, K * d)."""
    # Of no rows at all, too, in one precision.
    return rows.rows.pooled[:, list(states)].flatten(1).float()


def head_candidate(train: Labelled, held: Labelled, states: tuple[int, ...]) -> Candidate:
    """Fit the head on states for a series of penalties and keep the best on validation.

    Modules start from the head of the largest penalty, not from the best one: behind a head that fits its rows closely
    little gradient is left for them. `explanation/measurements` has the figures.
    """
    began, measure = time.perf_counter(), train.task.measure
    heads = fit_path(features_of(train, states), train.targets, train.task, PENALTIES)
    spent = time.perf_counter() - began
    tried = [(measure(head.scores(features_of(held, states)), held.targets), head) for head in heads]
    (score, loss), head = max(tried, key=lambda pair: (pair[0][0], -pair[0][1])) if len(held.rows) else middle(tried)
    gap = measure(head.scores(features_of(train, states)), train.targets)[0] - score
    found = headed("head", head, states, (score, loss), head.scores(features_of(held, states)), spent)
    return replace(found, start=heads[0], gap=gap)


def headed(
    variant: str,
    head: LinearHead,
    states: tuple[int, ...],
    measured: tuple[float, float],
    logits: Tensor,
    spent: float,
) -> Candidate:
    """A head on frozen states as a candidate.

    Args:
        variant: its name.
        head: that was fitted.
        states: that it reads.
        measured: score and loss on the validation rows.
        logits: of these rows, (M, C).
        spent: seconds.
    """
    score, loss = measured
    return Candidate(
        variant=variant,
        score=score,
        loss=loss,
        train_s=spent,
        predicted_s=0.0,
        num_trainable=head.weight.numel() + head.bias.numel(),
        curve=((spent, score),),
        placement=Placement(boundary=max(states), exit=max(states)),
        head=HeadFacts(states=states),
        tensors={"head.weight": head.weight, "head.bias": head.bias},
        logits=logits,
    )


def words_candidate(
    texts: Sequence[str], train: Labelled, held_texts: Sequence[str], held: Labelled, seed: int
) -> Candidate:
    """Fit the words alone: strengths rise until validation falls, and the margins are sharpened to fit it best."""
    began, validating, task = time.perf_counter(), 0.0, train.task
    best: tuple[tuple[float, float], float, Lexicon, Tensor] | None = None
    strengths = STRENGTHS if held_texts else (middle(STRENGTHS),)
    for lexicon in Lexicon.path(texts, task.indicator(train.targets).numpy(), strengths, seed=seed):
        stopped = time.perf_counter()
        margins = torch.from_numpy(lexicon.scores(held_texts))
        measured = [(task.measure(margins * sharp, held.targets), sharp) for sharp in _SHARPNESS]
        (score, loss), sharp = min(measured, key=lambda m: m[0][1]) if held_texts else middle(measured)
        validating += time.perf_counter() - stopped
        if best is not None and (score, -loss) <= best[0]:
            break
        best = (score, -loss), sharp, lexicon, margins * sharp
    assert best is not None
    (score, negative), sharp, lexicon, logits = best
    spent = time.perf_counter() - began - validating
    sharpened = Lexicon(lexicon.spec, lexicon.columns, lexicon.idf, lexicon.weight * sharp, lexicon.bias * sharp)
    tensors = {f"lexicon.{name}": torch.from_numpy(array) for name, array in sharpened.tensors().items()}
    return Candidate(
        variant="words",
        score=score,
        loss=-negative,
        train_s=spent,
        predicted_s=0.0,
        num_trainable=tensors["lexicon.weight"].numel() + tensors["lexicon.bias"].numel(),
        curve=((spent, score),),
        placement=Placement(boundary=0, exit=0),
        head=HeadFacts(words=lexicon.spec.model_dump(mode="json"), words_share=1.0),
        tensors=tensors,
        logits=logits,
    )


def joined(candidate: Candidate, words: Candidate | None, held: Labelled) -> Candidate | None:
    """A candidate with the words beside it, where they were tried and validation gains by that."""
    if words is None:
        return None
    mix = held.task.mix
    tried = [(held.task.measure(mix(candidate.logits, words.logits, share), held.targets), share) for share in _SHARES]
    (score, loss), share = max(tried, key=lambda pair: (pair[0][0], -pair[0][1]))
    if score <= max(candidate.score, words.score):
        return None
    head = candidate.head.model_copy(update={"words": words.head.words, "words_share": share})
    spent = candidate.train_s + words.train_s
    return Candidate(
        variant=f"{candidate.variant} + words",
        score=score,
        loss=loss,
        train_s=spent,
        predicted_s=candidate.predicted_s,
        num_trainable=candidate.num_trainable + words.num_trainable,
        curve=((spent, score),),
        placement=candidate.placement,
        routing=candidate.routing,
        head=head,
        tensors=candidate.tensors | words.tensors,
        logits=mix(candidate.logits, words.logits, share),
    )


def middle(tried: Sequence[T]) -> T:
    """What is taken where no row was held out to choose by."""
    return tried[len(tried) // 2]
