"""A learning curve of one's own rows: what training on 16, 32, 64 ... of them comes to on the others.

What is trained is what costs least: words, a head on the states, and both, chosen on validation as in `tsugiki train`.
The states are computed once for all draws, so a draw costs the fitting of a head.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tsugiki.advise.law import Point
from tsugiki.base.prefix_cache import CachedRows
from tsugiki.data.lexicon import Lexicon, LexiconSpec
from tsugiki.data.rows import Rows, Splits
from tsugiki.data.split import folds, subsample, with_validation
from tsugiki.i18n import text
from tsugiki.placement.plan import head_states
from tsugiki.progress import progress
from tsugiki.spec import parse
from tsugiki.tasks.task import Task, task_for
from tsugiki.train.calibration import temperature_of
from tsugiki.train.candidate import Candidate
from tsugiki.train.choice import best_of
from tsugiki.train.config import Config
from tsugiki.train.heads import features_of, head_candidate, joined, words_candidate
from tsugiki.train.loop import Labelled

_FEWEST, _DRAWS = 16, 5
# Above so many rows a draw costs seconds and says more.
_MANY, _DRAWS_OF_MANY = 1_000, 2
# The largest draws hold out one part each.
_FOLDS = 5
# A size so near to the largest says the same.
_NEAR = 0.75


@dataclass(frozen=True)
class Draw:
    """What one draw came to.

    Args:
        right: of each row that was not trained on, whether its answer is (M,) bool.
        labels: of these rows.
        automatic: share of these rows that could be answered unseen, from the lowest confidence on above which the
            wanted precision was seen among them (0..1). To prove it would take more of them, the fewer are asked.
        variant: that won.
        rows: trained on, as a new row would see them. A row that is held out takes one from its own class, which counts
            where classes are small; so this is what is left of the classes of the asked, times all rows.
    """

    right: Tensor
    labels: tuple[str, ...]
    automatic: float
    variant: str
    rows: float

    @property
    def score(self) -> float:
        """Share of right answers."""
        return float(self.right.double().mean())


@dataclass(frozen=True)
class Curve:
    """All draws.

    Args:
        draws: by number of rows, ascending.
        asked: distinct rows that were asked.
    """

    draws: dict[int, tuple[Draw, ...]]
    asked: int

    def scores(self) -> list[Point]:
        """Share of right answers, by number of rows."""
        return [self._point(own, [draw.score for draw in own]) for own in self.draws.values()]

    def automatic(self) -> list[Point]:
        """Share of rows that could be answered unseen, by number of rows."""
        return [self._point(own, [draw.automatic for draw in own]) for own in self.draws.values()]

    def _point(self, draws: Sequence[Draw], shares: Sequence[float]) -> Point:
        rows = sum(draw.rows for draw in draws) / len(draws)
        return Point(round(rows), tuple(shares), len(draws[0].right))

    @property
    def last(self) -> tuple[Draw, ...]:
        """Those of the most rows."""
        return self.draws[max(self.draws)]


@dataclass(frozen=True)
class Bench:
    """Rows that draws are taken of.

    Args:
        rows: labelled.
        cached: their pooled states.
        config: of the runs.
    """

    rows: Rows
    cached: CachedRows
    config: Config

    def curve(self) -> Curve:
        """Every size, every draw; sizes of which no draw has two classes to learn from are left out."""
        planned = list(self._planned())
        found: dict[int, list[Draw]] = {}
        with progress(text("advise.bar"), sum(len(drawn) for _, drawn, _ in planned)) as advance:
            for size, drawn, seed in planned:
                if draw := self.draw(drawn, seed):
                    found.setdefault(size, []).append(draw)
                advance(len(drawn))
        return Curve({size: tuple(draws) for size, draws in found.items()}, len(self.rows))

    def _planned(self) -> Iterator[tuple[int, list[int], int]]:
        """Size, rows and seed of each draw: 16, 32, 64 ... rows, and four fifths, of which each row is asked once."""
        strata, most = self.rows.strata, len(self.rows) * (_FOLDS - 1) // _FOLDS
        size = _FEWEST
        while size < _NEAR * most:
            for seed in range(_DRAWS if size <= _MANY else _DRAWS_OF_MANY):
                yield size, subsample(strata, size, seed), seed
            size *= 2
        if most >= _FEWEST:
            for seed, (kept, _) in enumerate(folds(strata, _FOLDS, 0, groups=self.rows.texts)):
                yield most, kept, seed

    def draw(self, drawn: Sequence[int], seed: int, asked: Sequence[int] | None = None) -> Draw | None:
        """Train on some rows and ask others; None where too few classes are among them.

        Args:
            drawn: row numbers to train on.
            seed: of the run.
            asked: row numbers to ask; None asks all others.
        """
        if asked is None:
            taken = set(drawn)
            asked = [row for row in range(len(self.rows)) if row not in taken]
        rows = self.rows.take(drawn)
        split = with_validation(Splits(train=rows), share=self.config.data.validation_share, seed=seed)
        if split.validation is None or split.train is None or len(set(split.train.labels or ())) < 2:
            return None
        task = task_for(split.train, self.config.data)
        # Rows of one text have the same states.
        place = {text: row for row, text in zip(drawn, rows.texts, strict=True)}
        train, held = (
            self._labelled([place[text] for text in part.texts], part.labels or (), task)
            for part in (split.train, split.validation)
        )
        winner = self._winner(split.train, train, split.validation, held, seed)
        temperature = temperature_of(task, winner.logits, held.targets)
        calibrated = winner.logits / temperature
        fitted = task.fitted(calibrated, held.targets)
        others = self.rows.take(asked)
        labels = others.labels or ()
        targets = fitted.targets(labels)
        logits = self._logits(winner, asked, others, task) / temperature
        found = fitted.answers(logits)
        right = fitted.match(found.best, targets) == 1
        strata = self.rows.strata
        whole, trained = Counter(strata), Counter(strata[row] for row in drawn)
        left = sum(trained[strata[row]] / whole[strata[row]] for row in asked) / len(asked)
        automatic = _automatic(found.probability, right, self.config.train.target_precision)
        return Draw(right, labels, automatic, winner.variant, left * len(strata))

    def _winner(self, rows: Rows, train: Labelled, held_rows: Rows, held: Labelled, seed: int) -> Candidate:
        words = words_candidate(rows.texts, train, held_rows.texts, held, seed) if self.config.train.words else None
        head = head_candidate(train, held, self._states)
        found = [candidate for candidate in (words, head, joined(head, words, held)) if candidate is not None]
        return best_of(found, train.task, held.targets)

    @property
    def _states(self) -> tuple[int, ...]:
        return head_states(self.config.placement.exit or self.cached.base.num_layers)

    def _labelled(self, numbers: Sequence[int], labels: Sequence[str], task: Task) -> Labelled:
        return Labelled(self.cached.take(numbers), task.targets(labels), task)

    def _logits(self, winner: Candidate, asked: Sequence[int], rows: Rows, task: Task) -> Tensor:
        """What a candidate says of rows that are none of its own, (M, C)."""
        words = None
        if winner.head.words is not None:
            tensors = {n.removeprefix("lexicon."): t.numpy() for n, t in winner.tensors.items() if "lexicon." in n}
            lexicon = Lexicon.from_tensors(parse(LexiconSpec, winner.head.words, where="head.words"), tensors)
            words = torch.from_numpy(lexicon.scores(rows.texts)).float()
            if not winner.head.states:
                return words
        features = features_of(self._labelled(asked, rows.labels or (), task), winner.head.states)
        logits = features @ winner.tensors["head.weight"].T + winner.tensors["head.bias"]
        return logits if words is None else task.mix(logits, words, winner.head.words_share)


def _automatic(confidence: Tensor, right: Tensor, wanted: float) -> float:
    order = confidence.argsort(descending=True)
    answered = torch.arange(1, len(order) + 1)
    reaching = answered[right[order].double().cumsum(0) / answered >= wanted]
    return float(reaching.max()) / len(order) if len(reaching) else 0.0
