"""Words first: where they are sure of an answer, no layer of the base is run for it.

A cascade (Viola & Jones 2001) of two: the words cost next to nothing, so every row that they answer alone is saved
whole. How sure is sure enough is read off the validation rows: the least confidence from which on the score that was
asked for is still reached. Rows that it was chosen on flatter it a little; `explanation/measurements` says by how much.
"""

from dataclasses import replace

import torch

from tsugiki.manifest import Shortcut
from tsugiki.train.calibration import temperature_of
from tsugiki.train.candidate import Candidate
from tsugiki.train.loop import Labelled

FIRST = "words, then "


def behind_words(candidate: Candidate, words: Candidate, held: Labelled, enough: float) -> Candidate | None:
    """A candidate that is asked only where the words are not sure; None where that would spare it no row.

    Args:
        candidate: that runs the base, and scores at least `enough`.
        words: of the same run.
        held: validation rows.
        enough: score that is wanted (0..1).
    """
    task, targets = held.task, held.targets
    own, other = (temperature_of(task, each.logits, targets) for each in (words, candidate))
    confidence = task.answers(words.logits / own).probability
    scale = other / own
    before, after = (
        task.match(task.choose(logits), targets).double() for logits in (candidate.logits, words.logits * scale)
    )
    order = confidence.argsort(descending=True, stable=True)
    # What is left of the score where the surest rows, one more each time, are answered by the words.
    scores = (before.sum() + (after - before)[order].cumsum(0)) / len(targets)
    # Equal confidences fall on one side.
    ends = torch.ones(len(order), dtype=torch.bool)
    ends[:-1] = confidence[order][1:] < confidence[order][:-1]
    reaching = ((scores >= enough - 1e-9) & ends).nonzero().squeeze(1)
    if not len(reaching):
        return None
    last = int(reaching[-1])
    threshold = float(confidence[order[last]])
    sure = confidence >= threshold
    logits = torch.where(sure[:, None], words.logits * scale, candidate.logits)
    score, loss = task.measure(logits, targets)
    shortcut = Shortcut(threshold=threshold, temperature=own, scale=scale)
    head = candidate.head.model_copy(update={"words": words.head.words, "shortcut": shortcut})
    tensors = candidate.tensors | words.tensors
    trainable = candidate.num_trainable + (0 if candidate.head.words else words.num_trainable)
    return replace(
        candidate,
        variant=f"{FIRST}{candidate.variant}",
        score=score,
        loss=loss,
        train_s=candidate.train_s + (0.0 if candidate.head.words else words.train_s),
        num_trainable=trainable,
        head=head,
        tensors=tensors,
        logits=logits,
        start=None,
        runs=1.0 - float(sure.double().mean()),
    )
