"""`tsugiki predict`: answer for one text, the rows of a file, or the lines of standard input as they come."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from tsugiki.cli.answer import Answer
from tsugiki.cli.options import AdapterArgument, BaseOption, EncodingOption, PrecisionOption, SheetOption
from tsugiki.data.reading import Reading
from tsugiki.data.texts import PAIR
from tsugiki.data.texts import pair as paired
from tsugiki.errors import ConfigError, RoutingError, RowsError
from tsugiki.i18n import text as say
from tsugiki.progress import progress

if TYPE_CHECKING:
    from io import BufferedReader
    from typing import TypeAlias

    from tsugiki.composed.adapters import Composed
    from tsugiki.data.rows import Rows
    from tsugiki.data.table import Table
    from tsugiki.tasks.adapter import Adapter
    from tsugiki.tasks.answering import Prediction
    from tsugiki.writing.writer import Writer

    Answers: TypeAlias = Adapter | Composed
    Domains: TypeAlias = Sequence[str | None] | None

EXAMPLE = 'tsugiki predict tickets-adapter --text "Oil drips from cylinder 3"'
_CHUNK = 256
_READ_BYTES = 1 << 16


def run(
    folder: AdapterArgument,
    file: Annotated[str | None, typer.Argument(metavar="FILE")] = None,
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT")] = None,
    pair: Annotated[str | None, typer.Option("--pair", metavar="TEXT")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE")] = None,
    sheet: SheetOption = None,
    encoding: EncodingOption = None,
    target_precision: PrecisionOption = None,
    domains: Annotated[str | None, typer.Option("--domains", metavar="DOMAIN")] = None,
    receipts: Annotated[Path | None, typer.Option("--receipts", metavar="FILE")] = None,
    max_new: Annotated[int | None, typer.Option("--max-new", metavar="TOKENS", min=1)] = None,
    temperature: Annotated[float, typer.Option("--temperature", metavar="NUMBER", min=0)] = 0.0,
    top_p: Annotated[float, typer.Option("--top-p", metavar="SHARE", min=0, max=1)] = 1.0,
    stop: Annotated[list[str] | None, typer.Option("--stop", metavar="TEXT")] = None,
    base: BaseOption = None,
) -> Iterator[Answer]:
    """Answer as the texts come, or write a file with all columns and the answers beside them.

    `--text`, `--pair` and `--domains` name columns where there is a file.

    Raises:
        ConfigError: there is nothing to answer, no file to put beside, or lines that cannot be pairs.
    """
    if file is None and text is None:
        raise ConfigError("cli.nothing_to_answer")
    if out is not None and file in (None, "-"):
        raise ConfigError("cli.out_without_file")
    if pair is not None and file == "-":
        raise ConfigError("cli.pair_of_lines")
    from tsugiki.api import load_either
    from tsugiki.cli import writing
    from tsugiki.data.answers import format_of
    from tsugiki.writers import is_writer, load_writer

    if out is not None:
        format_of(out, Path(str(file)))
    drawn = {"--max-new": max_new, "--temperature": temperature, "--top-p": top_p < 1, "--stop": stop}
    if is_writer(folder):
        from tsugiki.writing.sampling import Sampling

        for_labels = {"--pair": pair, "--domains": domains, "--receipts": receipts}
        writing.refuse("writing.not_for_writers", folder, for_labels | {"--target-precision": target_precision})
        sampling = Sampling(max_new=max_new, temperature=temperature, top_p=top_p, stop=tuple(stop or ()))
        writer = load_writer(folder, base)
        if file is None:
            yield from writing.answers(writer, [text or ""], sampling)
        elif file == "-":
            for lines in _incoming(encoding or "utf-8"):
                yield from writing.answers(writer, lines, sampling)
        else:
            found = _rows(writer, file, Reading.of(text=text, sheet=sheet, encoding=encoding))
            if out is not None:
                yield writing.beside(writer, *found, out, sampling)
            else:
                for texts, _ in _chunks(found[1]):
                    yield from writing.answers(writer, texts, sampling)
        return
    writing.refuse("writing.only_writers", folder, drawn)
    asked = _Asked(load_either(folder, base), target_precision, receipts)
    if receipts is not None:
        receipts.write_text("", encoding="utf-8")
    if file is None:
        single = text or ""
        yield from asked.answers(
            [single if pair is None else paired(single, pair)], None if domains is None else [domains]
        )
    elif file == "-":
        for lines in _incoming(encoding or "utf-8"):
            yield from asked.answers(lines, None if domains is None else [domains] * len(lines))
    else:
        named = {"text": text, "pair": pair, "domains": domains, "sheet": sheet, "encoding": encoding}
        table, rows = _rows(asked.adapter, file, Reading.of(**named))
        if out is not None:
            yield _written(asked, table, rows, out)
        else:
            for texts, own in _chunks(rows):
                yield from asked.answers(texts, own)


@dataclass(frozen=True)
class _Asked:
    """Who answers, how sure an answer has to be that needs no review, and where receipts go."""

    adapter: "Answers"
    precision: float | None
    receipts: Path | None

    def predict(self, texts: list[str], domains: "Domains") -> "Sequence[Prediction]":
        if self.receipts is not None:
            self._make_out(texts, domains)
        if not domains:
            return self.adapter.predict(texts, self.precision)
        return self._of_domains.predict(texts, self.precision, domains)

    def _make_out(self, texts: list[str], domains: "Domains") -> None:
        from tsugiki.api import receipt

        if domains:
            raise ConfigError("cli.receipts_of_domains")
        assert self.receipts is not None
        with self.receipts.open("ab") as file:
            file.writelines(receipt(self.adapter, text).to_bytes() + b"\n" for text in texts)

    @property
    def _of_domains(self) -> "Adapter":
        from tsugiki.tasks.adapter import Adapter

        if not isinstance(self.adapter, Adapter):
            raise RoutingError("routing.no_domains", name=self.adapter.set.composition.name)
        return self.adapter

    def answers(self, texts: list[str], domains: "Domains") -> Iterator[Answer]:
        for text, prediction in zip(texts, self.predict(texts, domains), strict=True):
            hint = "review" if prediction.needs_review else "ok"
            facts = prediction.to_dict()
            # Of a set: whose answer it is.
            who = [str(facts["adapter"] or "-")] if "adapter" in facts else []
            line = [prediction.label or "-", f"{prediction.probability:.4f}", hint, *who, " ".join(text.split())]
            first, between, second = text.partition(PAIR)
            asked = {"text": first, "pair": second} if between else {"text": text}
            yield Answer({**asked, **facts}, "\t".join(line))


def _rows(adapter: "Answers | Writer", file: str, reading: Reading) -> tuple["Table", "Rows"]:
    from tsugiki.data.rows import read_table, unlabelled
    from tsugiki.writing.writing import writes

    table = read_table(file, None, reading)
    known = adapter.reading.fitting(table.columns)
    # Where labels are wanted, what columns hold is found anew.
    task = known.task if writes(known.task) else None
    chosen = Reading(
        text=reading.text or known.text, pair=reading.pair or known.pair, domains=reading.domains, task=task
    )
    return table, unlabelled(table, chosen)


def _chunks(rows: "Rows") -> Iterator[tuple[list[str], "Domains"]]:
    for at in range(0, len(rows), _CHUNK):
        part = rows.take(range(at, min(at + _CHUNK, len(rows))))
        yield list(part.texts), part.domains


def _written(asked: _Asked, table: "Table", rows: "Rows", out: Path) -> Answer:
    from tsugiki.data.answers import write_answers

    answers: list[Prediction] = []
    with progress(say("cli.predict.bar"), len(rows)) as advance:
        for texts, domains in _chunks(rows):
            answers += asked.predict(texts, domains)
            advance(len(texts))
    facts = [answer.to_dict() for answer in answers]
    write_answers(out, table, {name: [fact[name] for fact in facts] for name in facts[0]} if facts else {})
    told = {"out": str(out), "rows": len(rows), "review": sum(answer.needs_review for answer in answers)}
    return Answer(told, say("cli.predict.written", **told))


def _incoming(encoding: str) -> Iterator[list[str]]:
    """Lines of standard input: those that are there are answered together, none waits for those to come."""
    source = cast("BufferedReader", sys.stdin.buffer)
    rest, done = b"", 0
    while data := source.read1(_READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        for at in range(0, len(lines), _CHUNK):
            yield [_decoded(line, done + at + i, encoding) for i, line in enumerate(lines[at : at + _CHUNK], start=1)]
        done += len(lines)
    if rest:
        yield [_decoded(rest, done + 1, encoding)]


def _decoded(line: bytes, number: int, encoding: str) -> str:
    try:
        return line.decode(encoding).removesuffix("\r")
    except LookupError:
        raise ConfigError("rows.no_such_encoding", found=encoding) from None
    except UnicodeDecodeError as error:
        facts = {"path": "-", "line": number, "byte": error.start, "encoding": encoding}
        raise RowsError("rows.bad_encoding", **facts) from None
