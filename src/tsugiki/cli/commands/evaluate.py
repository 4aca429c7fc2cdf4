"""`tsugiki evaluate`: how good an adapter's answers are on labelled rows."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tsugiki.cli.answer import Answer, table
from tsugiki.cli.options import (
    AdapterArgument,
    BaseOption,
    EncodingOption,
    LabelOption,
    MergeOption,
    PairOption,
    PrecisionOption,
    RowsArgument,
    SheetOption,
    TextOption,
)
from tsugiki.errors import ConfigError
from tsugiki.i18n import text as say
from tsugiki.i18n import warn

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tsugiki.evaluate.run import Evaluation

EXAMPLE = "tsugiki evaluate tickets-adapter tickets --split test --picture confusion.png"


def run(
    folder: AdapterArgument,
    rows: RowsArgument,
    split: Annotated[str, typer.Option("--split", metavar="SPLIT")] = "test",
    text: TextOption = None,
    pair: PairOption = None,
    label: LabelOption = None,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    target_precision: PrecisionOption = None,
    merge_labels: MergeOption = False,
    base: BaseOption = None,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE")] = None,
    coverage: Annotated[Path | None, typer.Option("--coverage", metavar="FILE")] = None,
) -> Answer:
    """Answer the rows, compare with their labels and draw who is taken for whom."""
    from tsugiki.api import load
    from tsugiki.data.reading import Reading
    from tsugiki.data.rows import read_table, unlabelled
    from tsugiki.data.spelling import respelled, shown, usual_spellings
    from tsugiki.evaluate.run import evaluate

    adapter = load(folder, base)
    found = read_table(rows, split, Reading(sheet=sheet, encoding=encoding))
    known = adapter.reading.fitting(found.columns)
    labelled = unlabelled(found, known.over(text=text, pair=pair, label=label))
    if other := usual_spellings(labelled.each_label, adapter.labels):
        if merge_labels:
            labelled = respelled(labelled, other)
        else:
            warn("data.alike_labels", count=len(other), labels=shown(other))
    evaluation = evaluate(adapter, labelled, adapter.manifest.review, target_precision)
    facts = json.loads(evaluation.to_json())
    if picture is not None:
        if not evaluation.confusion:
            raise ConfigError("cli.evaluate.no_confusion")
        from tsugiki.report.plots import confusion_picture

        confusion_picture(evaluation, picture)
        facts["picture"] = str(picture)
    if coverage is not None:
        from tsugiki.report.plots import coverage_picture

        coverage_picture(evaluation, coverage)
        facts["coverage_picture"] = str(coverage)
    return Answer(facts, page(evaluation, picture))


def page(evaluation: "Evaluation", picture: Path | None = None) -> "RenderableType":
    """Scores over all and by class, and the pairs that are taken for each other most."""
    from rich.console import Group
    from rich.text import Text

    from tsugiki.report.tables import metric_name

    columns = [say(f"cli.column.{name}") for name in ("label", "precision", "recall", "f1", "rows")]
    by_class = [(c.label, c.precision, c.recall, c.f1, c.num_rows) for c in evaluation.classes]
    scores = say(
        "cli.evaluate.scores",
        metric=metric_name(evaluation.metric),
        score=evaluation.score,
        f1=evaluation.macro_f1,
        rows=evaluation.num_rows,
    )
    notes = [f"{metric_name(name)}: {value:.3f}" for name, value in evaluation.further.items()]
    notes += [say("cli.evaluate.mixed_up", **worst) for worst in _mixed_up(evaluation)]
    if (found := evaluation.automatic) is not None:
        key = "cli.evaluate.automatic" if found.share else "cli.evaluate.nothing_automatic"
        notes.append(say(key, **{name: 100 * value for name, value in asdict(found).items()}))
    if picture is not None:
        notes.append(say("cli.evaluate.picture_at", path=picture))
    return Group(table(*columns, rows=by_class), Text(scores), *map(Text, notes))


def _mixed_up(evaluation: "Evaluation", most: int = 3) -> list[dict[str, object]]:
    pairs = [
        {"count": count, "label": label, "answer": answer}
        for label, row in zip(evaluation.labels, evaluation.confusion, strict=True)
        for answer, count in zip(evaluation.labels, row, strict=True)
        if count > 1 and label != answer
    ]
    return sorted(pairs, key=lambda pair: -int(str(pair["count"])))[:most]
