"""What `import tsugiki` offers for adapters that write."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsugiki.adapt.package import FILES, MANIFEST, load_package
from tsugiki.api import configure
from tsugiki.base.model import Base
from tsugiki.data.reading import Reading
from tsugiki.data.rows import read_splits, read_table, unlabelled
from tsugiki.drafts import require_free

if TYPE_CHECKING:
    from tsugiki.train.writing_run import TrainedWriter
    from tsugiki.writing.evaluation import WritingEvaluation
    from tsugiki.writing.sampling import Sampling
    from tsugiki.writing.writer import Writer


def train_writer(
    rows: Any,
    *,
    base: str | Path | None = None,
    out: str | Path | None = None,
    parent: str | Path | None = None,
    task: str | None = None,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> "Writer":
    """Train an adapter that writes, on rows with a text and what is to be written for it.

        writer = tsugiki.train_writer("replies.jsonl", base="Qwen/Qwen3-0.6B", out="replies")
        writer.write("Where is my parcel?")[0].text

    Args:
        rows: as for `train`.
        base: folder or hub name of a decoder with its vocabulary head.
        out: folder to save the adapter to; None saves nothing.
        parent: folder of a writer to go on from.
        task: `generate`, `summarise` or `extract`; None: that of the parent, or `generate`.
        text: column of the inputs; None finds it by name, such as `source` or `prompt`.
        label: column of the targets; None finds it by name, such as `target` or `completion`.
        sheet: of a workbook; None takes the only one that is not empty.
        encoding: of text files; None recognises it.
        config: TOML file of settings.
        settings: single settings over it, such as `{"writing.prompt": "{source} =>"}`.

    Raises:
        RowsError: the rows cannot be read or learnt from, or a target is empty.
        MissingError: rows or base are not there.
        BaseModelError: the base cannot write.
        ConfigError: a setting is wrong, or no token could end an answer.
        PackageError: something else is at `out`.
    """
    named: Any = {"text": text, "label": label, "sheet": sheet, "encoding": encoding}
    more: Any = {"base": base, "out": out, "parent": parent, "config": config, "settings": settings}
    kind = task or (None if parent is not None else "generate")
    return train_writer_and_report(rows, task=kind, **named, **more).adapter


def train_writer_and_report(
    rows: Any,
    *,
    out: str | Path | None = None,
    parent: str | Path | None = None,
    **named: Any,
) -> "TrainedWriter":
    """Train as `train_writer` does, and return the writer with what was tried, what it cost and the verdict."""
    if out is not None:
        require_free(Path(out), FILES)
    package = None if parent is None else load_package(Path(parent))
    chosen = configure(parent=package, **named)
    if out is not None and chosen.name is None:
        chosen = chosen.model_copy(update={"name": Path(out).resolve().name})
    from tsugiki.train.write import train_writer as trained_on

    trained = trained_on(read_splits(rows, chosen.data), chosen, package)
    if out is not None:
        trained.adapter.save(Path(out))
    return trained


def load_writer(folder: str | Path, base: str | Base | None = None) -> "Writer":
    """Load an adapter that writes, with the base that it names or the one given.

    Raises:
        MissingError: the package or its base is not there.
        PackageError: the package is damaged, belongs to another base, or does not write.
    """
    from tsugiki.writing.writer import Writer

    return Writer.load(Path(folder), base)


def is_writer(folder: str | Path) -> bool:
    """Whether a folder holds an adapter that writes, as far as its manifest says; whatever is wrong shows later."""
    from tsugiki.writing.writing import writes

    try:
        return writes(json.loads((Path(folder) / MANIFEST).read_bytes())["task"]["kind"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return False


def evaluate_writer(
    writer: "Writer",
    rows: Any,
    *,
    split: str = "test",
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    sampling: "Sampling | None" = None,
) -> "WritingEvaluation":
    """Answer rows with a target by a writer, and say how good the answers are.

    Args:
        writer: that answers.
        rows: as for `train_writer`; where they have a column `references` with lists of good answers, the nearest of
            these counts.
        split: to answer, where the rows have several.
        text: column of the inputs; None takes the one of training where it is there, else finds it by name.
        label: column of the targets; None likewise.
        sheet: of a workbook; None takes the only one that is not empty.
        encoding: of text files; None recognises it.
        sampling: how the next token is chosen; None takes the likeliest.

    Raises:
        RowsError: the rows cannot be read, or have no targets.
        MissingError: the rows or their split are not there.
    """
    from tsugiki.data.columns import references_of
    from tsugiki.writing.evaluation import evaluate_writer as answered

    table = read_table(rows, split, Reading(sheet=sheet, encoding=encoding))
    named: Any = {"text": text, "label": label}
    found = unlabelled(table, writer.reading.fitting(table.columns).over(**named))
    return answered(writer, found, references_of(table), sampling)
