"""How good the answers of a writer are on rows with a target."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean

from tsugiki.data.rows import Rows
from tsugiki.errors import RowsError
from tsugiki.i18n import text
from tsugiki.progress import progress
from tsugiki.writing.sampling import Sampling
from tsugiki.writing.writer import Writer

_CHUNK = 64


@dataclass(frozen=True)
class WritingEvaluation:
    """What came of it.

    Args:
        score: how good answers are in the mean (0..1).
        metric: what that is, such as `chrf`.
        num_rows: N.
        further: other scores over all rows, by their names (0..1).
        perplexity: of a token of the targets, for the adapted base.
        base_perplexity: the same for the base alone.
        finished: share of answers that came to their end (0..1).
        cut: rows whose input was cut.
        matches: how good each answer is, (N,).
    """

    score: float
    metric: str
    num_rows: int
    further: Mapping[str, float] = field(default_factory=dict)
    perplexity: float = math.nan
    base_perplexity: float = math.nan
    finished: float = 1.0
    cut: int = 0
    matches: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Everything but the rows one by one, as plain data."""
        return {name: value for name, value in asdict(self).items() if name != "matches"}


def evaluate_writer(
    writer: Writer,
    rows: Rows,
    references: Sequence[Sequence[str]] | None = None,
    sampling: Sampling | None = None,
) -> WritingEvaluation:
    """Answer rows and compare with their targets.

    Args:
        writer: that answers.
        rows: with their targets as labels.
        references: good answers to each row; the target where a row has none, or None are given.
        sampling: None takes the likeliest tokens.

    Raises:
        RowsError: there is no row, or rows have no targets.
    """
    if not len(rows):
        raise RowsError("evaluate.empty")
    if rows.labels is None:
        raise RowsError("evaluate.no_labels")
    answers = []
    with progress(text("cli.predict.bar"), len(rows)) as advance:
        for at in range(0, len(rows), _CHUNK):
            answers += writer.write(rows.texts[at : at + _CHUNK], sampling)
            advance(min(_CHUNK, len(rows) - at))
    named = references or [()] * len(rows)
    good = [own or (label,) for own, label in zip(named, rows.labels, strict=True)]
    texts = [answer.text for answer in answers]
    matches = writer.writing.match(texts, good)
    adapted, alone = writer.perplexity(rows.texts, rows.labels)
    return WritingEvaluation(
        score=fmean(matches),
        metric=writer.writing.judged_by,
        num_rows=len(rows),
        further=writer.writing.scores(texts, good),
        perplexity=adapted,
        base_perplexity=alone,
        finished=fmean(answer.finished for answer in answers),
        cut=sum(answer.cut for answer in answers),
        matches=tuple(matches),
    )
