"""A head for few rows: with a handful of them held out nothing can be chosen, so none is.

Its penalty is chosen by five folds over all rows, and it learns from all of them. What it scores on the validation rows
is what heads scored that had not learnt from them. `explanation/measurements` has what that brings beside a race.
"""

import time

import torch

from tsugiki.data.split import folds
from tsugiki.train.candidate import Candidate
from tsugiki.train.head import PENALTIES, fit_path
from tsugiki.train.heads import features_of, headed
from tsugiki.train.loop import Labelled

ALL_ROWS = "head of all rows"
# Rows in all, up to which so few can be held out that a race of candidates is one of luck.
MOST_ROWS = 64
# Few rows want more than the heads that modules start from.
_PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3, *PENALTIES)
_FOLDS = 5


def crossed_head(train: Labelled, held: Labelled, states: tuple[int, ...], seed: int) -> Candidate:
    """Fit the head on training and validation rows together.

    Args:
        train: training rows.
        held: validation rows, at least one.
        states: that it reads.
        seed: of the folds.
    """
    began, task = time.perf_counter(), train.task
    features = torch.cat([features_of(train, states), features_of(held, states)])
    targets = torch.cat([train.targets, held.targets])
    # Labels that training does not know teach nothing.
    known = task.known(targets).nonzero().squeeze(1)
    logits = torch.zeros(len(_PENALTIES), len(targets), len(task.labels))
    for learnt, asked in folds(task.names(targets[known]), _FOLDS, seed):
        if not asked:
            continue
        rows, others = known[learnt], known[asked]
        for number, head in enumerate(fit_path(features[rows], targets[rows], task, _PENALTIES)):
            logits[number, others] = head.scores(features[others])
    losses = torch.stack([task.losses(each[known], targets[known]).mean() for each in logits])
    best = int(losses.argmin())
    *_, head = fit_path(features[known], targets[known], task, _PENALTIES[: best + 1])
    spent = time.perf_counter() - began
    unseen = logits[best, len(train.targets) :]
    return headed(ALL_ROWS, head, states, task.measure(unseen, held.targets), unseen, spent)
