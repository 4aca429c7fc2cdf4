"""What commands say of adapters that write."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsugiki.cli.answer import Answer, table
from tsugiki.errors import ConfigError
from tsugiki.i18n import text as say
from tsugiki.progress import progress

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tsugiki.data.rows import Rows
    from tsugiki.data.table import Table
    from tsugiki.train.writing_run import TrainedWriter
    from tsugiki.writing.evaluation import WritingEvaluation
    from tsugiki.writing.sampling import Sampling
from tsugiki.writing.writer import Writer

_CHUNK = 64


def refuse(code: str, folder: Path, options: dict[str, Any]) -> None:
    """Refuse options that say nothing about an adapter of this kind.

    Raises:
        ConfigError: one of them was given.
    """
    for option, value in options.items():
        if value:
            raise ConfigError(code, option=option, folder=folder)


def answers(writer: "Writer", texts: Sequence[str], sampling: "Sampling") -> Iterator[Answer]:
    """An answer to each text: its line for people, and all facts for programs."""
    for text, answer in zip(texts, writer.write(texts, sampling), strict=True):
        facts = {"text": text, "answer": answer.text, **{k: v for k, v in answer.to_dict().items() if k != "text"}}
        yield Answer(facts, " ".join(answer.text.split()) or "-")


def beside(writer: "Writer", rows: "Table", asked: "Rows", out: Path, sampling: "Sampling") -> Answer:
    """Write a file with all columns of the rows and the answers beside them."""
    from tsugiki.data.answers import write_answers

    found: list[dict[str, Any]] = []
    with progress(say("cli.predict.bar"), len(asked)) as advance:
        for at in range(0, len(asked), _CHUNK):
            written = writer.write(asked.texts[at : at + _CHUNK], sampling)
            found += [answer.to_dict() for answer in written]
            advance(len(written))
    columns = {"answer": "text", "finished": "finished"}
    write_answers(out, rows, {name: [answer[key] for answer in found] for name, key in columns.items()})
    told = {"out": str(out), "rows": len(asked), "unfinished": sum(not answer["finished"] for answer in found)}
    return Answer(told, say("cli.predict.texts_written", **told))


def bill(trained: "TrainedWriter") -> dict[str, object]:
    """What was tried, what it cost and what came of it, for programs."""
    manifest = trained.adapter.manifest
    return {
        "name": manifest.name,
        "variant": manifest.variant,
        "verdict": trained.verdict,
        "candidates": [placed.facts() for placed in trained.candidates],
        "seconds": trained.seconds,
        "saved_s": trained.saved_s,
        "predicted_s": trained.predicted_s,
        "measured_s": trained.measured_s,
    }


def page(trained: "TrainedWriter", out: Path) -> "RenderableType":
    """The same for people, and what to do next."""
    from rich.console import Group
    from rich.text import Text

    winner = trained.adapter.manifest.variant
    columns = ("variant", "token_loss", "seconds", "predicted", "parameters")
    rows = [
        (
            f"{placed.variant} *" if placed.variant == winner else placed.variant,
            placed.fit.loss,
            placed.fit.train_s,
            placed.fit.predicted_s or None,
            placed.facts()["num_trainable"],
        )
        for placed in trained.candidates
    ]
    lines = [
        trained.verdict,
        say("cli.train.cost", total=trained.seconds["total"], cache=trained.seconds["cache"]),
        *([say("cli.train.saved", saved=trained.saved_s)] if trained.saved_s else []),
        say("cli.train.next", out=out),
    ]
    return Group(table(*(say(f"cli.column.{name}") for name in columns), rows=rows), *map(Text, lines))


def evaluated(evaluation: "WritingEvaluation") -> "RenderableType":
    """Scores over all rows."""
    from rich.console import Group
    from rich.text import Text

    from tsugiki.report.tables import metric_name

    rows = [(metric_name(name), value) for name, value in evaluation.further.items()]
    facts = {
        "score": 100 * evaluation.score,
        "rows": evaluation.num_rows,
        "finished": 100 * evaluation.finished,
        "perplexity": evaluation.perplexity,
        "base": evaluation.base_perplexity,
        "cut": evaluation.cut,
    }
    lines = [say("cli.evaluate.written", metric=metric_name(evaluation.metric), **facts)]
    if evaluation.cut:
        lines.append(say("cli.evaluate.cut", **facts))
    return Group(table(say("cli.column.metric"), say("cli.column.score"), rows=rows), *map(Text, lines))
