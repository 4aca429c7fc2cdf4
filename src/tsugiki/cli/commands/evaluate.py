"""`tsugiki evaluate`: how good an adapter's answers are on labelled rows."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tsugiki.composed.evaluation import SetEvaluation
    from tsugiki.evaluate.run import Evaluation

EXAMPLE = "tsugiki evaluate tickets-adapter tickets --split test --picture confusion.png"


def run(
    folder: AdapterArgument,
    rows: RowsArgument,
    split: Annotated[str, typer.Option("--split", metavar="SPLIT")] = "test",
    text: TextOption = None,
    pair: PairOption = None,
    label: LabelOption = None,
    domains: Annotated[str | None, typer.Option("--domains", metavar="COLUMN")] = None,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    target_precision: PrecisionOption = None,
    merge_labels: MergeOption = False,
    base: BaseOption = None,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE")] = None,
    coverage: Annotated[Path | None, typer.Option("--coverage", metavar="FILE")] = None,
) -> Answer:
    """Answer the rows, compare with their labels and draw who is taken for whom."""
    from tsugiki import api, sets, writers
    from tsugiki.composed.folder import is_set

    named: Any = {"text": text, "pair": pair, "label": label, "domains": domains, "sheet": sheet, "encoding": encoding}
    if is_set(folder):
        one = {"--picture": picture, "--coverage": coverage, "--target-precision": target_precision}
        for option, value in (one | {"--merge-labels": merge_labels or None}).items():
            if value is not None:
                raise ConfigError("cli.evaluate.of_one_adapter", option=option, folder=folder)
        found = sets.evaluate_set(sets.load_set(folder, base), rows, split=split, **named)
        return Answer(found.to_dict(), of_set(found))
    if writers.is_writer(folder):
        from tsugiki.cli import writing

        for_labels: Any = {"--picture": picture, "--coverage": coverage, "--pair": pair, "--domains": domains}
        for_labels |= {"--target-precision": target_precision, "--merge-labels": merge_labels}
        writing.refuse("writing.not_for_writers", folder, for_labels)
        columns: Any = {"text": text, "label": label, "sheet": sheet, "encoding": encoding}
        written = writers.evaluate_writer(writers.load_writer(folder, base), rows, split=split, **columns)
        return Answer(written.to_dict(), writing.evaluated(written))
    evaluation = api.evaluate(
        api.load(folder, base),
        rows,
        split=split,
        merge_labels=merge_labels,
        target_precision=target_precision,
        **named,
    )
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


def of_set(evaluation: "SetEvaluation") -> "RenderableType":
    """Who answered how much and how well, and what it cost that inputs had to find their adapter."""
    from rich.console import Group
    from rich.text import Text

    from tsugiki.report.evaluation import by_adapter, set_columns, set_sentences

    shown = table(*set_columns(evaluation), rows=by_adapter(evaluation))
    return Group(shown, *map(Text, set_sentences(evaluation)))


def page(evaluation: "Evaluation", picture: Path | None = None) -> "RenderableType":
    """Scores over all and by class, and the pairs that are taken for each other most."""
    from rich.console import Group
    from rich.text import Text

    from tsugiki.report.evaluation import by_class, columns, sentences

    notes = sentences(evaluation)
    if picture is not None:
        notes.append(say("cli.evaluate.picture_at", path=picture))
    return Group(table(*columns(), rows=by_class(evaluation)), *map(Text, notes))
