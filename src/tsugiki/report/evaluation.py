"""An evaluation in words: scores by class, and the sentences they come to."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from tsugiki.i18n import text
from tsugiki.report.tables import metric_name

if TYPE_CHECKING:
    from tsugiki.composed.evaluation import SetEvaluation
    from tsugiki.evaluate.run import Evaluation


def columns() -> list[str]:
    """Names of what `by_class` lists."""
    return [text(f"cli.column.{name}") for name in ("label", "precision", "recall", "f1", "rows")]


def by_class(evaluation: "Evaluation") -> list[tuple[str, float, float, float, int]]:
    """Label, precision, recall, F1 and number of rows of each class."""
    return [(c.label, c.precision, c.recall, c.f1, c.num_rows) for c in evaluation.classes]


def set_columns(evaluation: "SetEvaluation") -> list[str]:
    """Names of what `by_adapter` lists."""
    names = ["adapter", "answered", "precision"]
    if evaluation.own is not None:
        names += ["own_rows", "found_own", "to_nobody", "routed_score", "named_score"]
    return [text(f"cli.column.{name}") for name in names]


def by_adapter(evaluation: "SetEvaluation") -> list[tuple[str | int | float | None, ...]]:
    """What is known of each adapter, in the order of the columns."""
    known = slice(None) if evaluation.own is not None else slice(3)
    return [tuple(asdict(told).values())[known] for told in evaluation.adapters]


def set_sentences(evaluation: "SetEvaluation") -> list[str]:
    """The score over all, and what finding the adapter costs."""
    found = {name: 100 * value for name, value in asdict(evaluation).items() if isinstance(value, float)}
    counts = {"rows": evaluation.num_rows, "own": evaluation.own, "foreign": evaluation.foreign}
    told = [text("cli.evaluate.set_scores", **found, **counts)]
    if evaluation.own:
        told.append(text("cli.evaluate.set_named", **found, **counts))
    if evaluation.foreign:
        told.append(text("cli.evaluate.set_foreign", **found, **counts))
    return told


def sentences(evaluation: "Evaluation") -> list[str]:
    """The scores over all, the pairs that are taken for each other most, and how much needs no review."""
    over_all = {"score": evaluation.score, "f1": evaluation.macro_f1, "rows": evaluation.num_rows}
    mixed_up = sorted(_mixed_up(evaluation), reverse=True, key=lambda pair: pair[0])[:3]
    return [
        text("cli.evaluate.scores", metric=metric_name(evaluation.metric), **over_all),
        *(f"{metric_name(name)}: {value:.3f}" for name, value in evaluation.further.items()),
        *(text("cli.evaluate.mixed_up", count=n, label=label, answer=answer) for n, label, answer in mixed_up),
        *_automatic(evaluation),
    ]


def _mixed_up(evaluation: "Evaluation") -> Iterator[tuple[int, str, str]]:
    # Of rows with any number of labels there is no such table.
    for label, row in zip(evaluation.labels, evaluation.confusion, strict=False):
        for answer, count in zip(evaluation.labels, row, strict=True):
            if count > 1 and label != answer:
                yield count, label, answer


def _automatic(evaluation: "Evaluation") -> Iterator[str]:
    if (found := evaluation.automatic) is not None:
        key = "cli.evaluate.automatic" if found.share else "cli.evaluate.nothing_automatic"
        yield text(key, **{name: 100 * value for name, value in asdict(found).items()})
