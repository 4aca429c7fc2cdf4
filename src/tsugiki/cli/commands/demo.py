"""`tsugiki demo`: everything once, on the tickets that come along."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from tsugiki import i18n
from tsugiki.cli.answer import Answer
from tsugiki.i18n import text as say

EXAMPLE = "tsugiki demo"
_TEXTS = (
    "Oil is dripping from the cylinder of press 4 again.",
    "Light curtain at robot cell 2 was bridged with a wire.",
    "Pallets pile up at the infeed, belt stands still although the motor runs.",
)
_METHODS = ("tsugiki", "full", "probe", "tfidf")
_EPOCHS = 5


def run(out: Annotated[Path, typer.Option("--out", metavar="DIR")] = Path("tsugiki-demo")) -> Answer:
    """Advise, plan, train, answer, evaluate, compare, and say what to do with rows of one's own."""
    from rich.console import Group
    from rich.text import Text

    from tsugiki.api import advise, configure, plan, train_and_report
    from tsugiki.cli.commands import advise as advising
    from tsugiki.cli.commands import compare as comparing
    from tsugiki.cli.commands import evaluate as evaluating
    from tsugiki.cli.commands import plan as planning
    from tsugiki.cli.commands import train as training
    from tsugiki.data.rows import read_splits
    from tsugiki.evaluate.compare import compare
    from tsugiki.evaluate.run import evaluate

    rows = str(files("tsugiki") / "demo" / "tickets_en")
    splits = read_splits(rows)
    assert splits.train is not None and splits.test is not None
    adapter_folder, comparison_folder = out / "adapter", out / "comparison"

    i18n.notify("cli.demo.advising", count=len(splits.train))
    advice, told = advising.written(advise(rows), out / "advice")
    i18n.notify("cli.demo.planning")
    planned = plan(rows)
    planned.write(out / "plan")
    i18n.notify("cli.demo.training", count=len(splits.train))
    trained = train_and_report(rows, out=adapter_folder)
    answers = trained.adapter.predict(_TEXTS)
    evaluation = evaluate(trained.adapter, splits.test, trained.adapter.manifest.review)
    i18n.notify("cli.demo.comparing", methods=", ".join(_METHODS))
    comparison = compare(
        splits,
        dataset="tickets_en",
        methods=_METHODS,
        out=comparison_folder,
        seeds=1,
        config=configure(settings={"train.epochs": _EPOCHS}),
    )
    facts = {
        "out": str(out),
        "advice": advice,
        "plan": planned.facts(),
        "training": training.bill(trained),
        "answers": [{"text": t, **a.to_dict()} for t, a in zip(_TEXTS, answers, strict=True)],
        "evaluation": {"macro_f1": evaluation.macro_f1, evaluation.metric: evaluation.score},
        "comparison": comparing.facts(comparison),
    }
    lines = [f"{a.label}  {a.probability:.2f}  {t}" for t, a in zip(_TEXTS, answers, strict=True)]
    page = Group(
        Text(told),
        planning.page(planned, out / "plan"),
        training.page(trained, adapter_folder),
        Text(say("cli.demo.answers"), "bold"),
        *map(Text, lines),
        evaluating.page(evaluation),
        Text(say("cli.demo.comparison"), "bold"),
        comparison.table(),
        Text(say("cli.demo.next", out=out)),
    )
    return Answer(facts, page)
