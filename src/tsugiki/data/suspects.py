"""Labels that are likely wrong: confident learning (Northcutt, Jiang and Chuang 2021) over the words of the texts.

Each row is answered by a linear model of words that has not seen it. A class is believed of a row where its probability
is at least what the rows of that class get on average; a row of which another class is believed more is a suspect.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from tsugiki.data.lexicon import Lexicon
from tsugiki.data.split import folds

LEAST_ROWS = 5
"""Rows that a class must have before anything is said of its labels."""

_FOLDS, _FOLDS_OF_MANY, _MANY = 5, 3, 5_000
_STRENGTH = 1.0
# Margins are of no scale: the one that fits the labels best makes them probabilities.
_SHARPNESS = (1.0, 2.0, 4.0, 8.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Suspects:
    """Rows whose label is likely wrong, the likeliest first.

    Args:
        rows: their numbers.
        suggested: a label for each.
        probability: of that label (0..1).
        accuracy: share of all rows that the words answer as their label says (0..1); the lower, the less this tells.
    """

    rows: list[int]
    suggested: list[str]
    probability: list[float]
    accuracy: float


def suspects(texts: Sequence[str], labels: Sequence[str], groups: Sequence[Hashable]) -> Suspects:
    """Look for labels that are likely wrong.

    Args:
        texts: N texts.
        labels: of each.
        groups: one key per row; rows with equal keys are answered together.
    """
    classes = sorted(set(labels))
    given = np.searchsorted(classes, labels)
    logs = _calibrated(_margins(texts, labels, given, len(classes), groups), given)
    probability = np.exp(logs)
    rows = np.arange(len(labels))
    judged = np.bincount(given, minlength=len(classes)) >= LEAST_ROWS
    believed_from = np.array([probability[given == c, c].mean() for c in range(len(classes))])
    believed = np.where((probability >= believed_from) & judged, probability, 0.0)
    best = believed.argmax(axis=1)
    gain = probability[rows, best] - probability[rows, given]
    wrong = np.flatnonzero((believed[rows, best] > 0) & judged[given] & (gain > 0))
    wrong = wrong[np.argsort(-gain[wrong], kind="stable")]
    return Suspects(
        rows=wrong.tolist(),
        suggested=[classes[c] for c in best[wrong].tolist()],
        probability=probability[wrong, best[wrong]].tolist(),
        accuracy=float((logs.argmax(axis=1) == given).mean()),
    )


def _margins(
    texts: Sequence[str], labels: Sequence[str], given: NDArray[np.intp], num_classes: int, groups: Sequence[Hashable]
) -> Floats:
    """Margins of each row by a model that has not seen it, (N, C)."""
    margins = np.full((len(texts), num_classes), -1.0)
    for kept, held in folds(labels, _FOLDS if len(texts) <= _MANY else _FOLDS_OF_MANY, 0, groups):
        if held and kept:
            fitted = Lexicon.fit([texts[i] for i in kept], np.eye(num_classes)[given[kept]], strength=_STRENGTH, seed=0)
            margins[held] = fitted.scores([texts[i] for i in held])
    return margins


def _calibrated(margins: Floats, given: NDArray[np.intp]) -> Floats:
    """Logarithms of probabilities, (N, C)."""
    tried: list[Floats] = [log_softmax(sharp * margins, axis=1) for sharp in _SHARPNESS]
    return max(tried, key=lambda logs: float(logs[np.arange(len(given)), given].mean()))
