"""`tsugiki predict`: answer for one text, the rows of a file, or the lines of standard input as they come."""

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, cast

import typer

from tsugiki.cli.answer import Answer
from tsugiki.cli.options import AdapterArgument, BaseOption
from tsugiki.errors import ConfigError, RowsError

if TYPE_CHECKING:
    from io import BufferedReader

    from tsugiki.tasks.adapter import Adapter

EXAMPLE = 'tsugiki predict tickets-adapter --text "Oil drips from cylinder 3"'
_CHUNK = 256
_READ_BYTES = 1 << 16


def run(
    folder: AdapterArgument,
    file: Annotated[str | None, typer.Argument(metavar="FILE")] = None,
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT")] = None,
    base: BaseOption = None,
) -> Iterator[Answer]:
    """Answer as the texts come; `--text` names a column where there is a file.

    Raises:
        ConfigError: there is nothing to answer.
    """
    if file is None and text is None:
        raise ConfigError("cli.nothing_to_answer")
    from tsugiki.api import load

    adapter = load(folder, base)
    for texts in _chunks(file, text):
        yield from _answers(adapter, texts)


def _chunks(file: str | None, text: str | None) -> Iterable[list[str]]:
    if file == "-":
        return _incoming()
    if file is None:
        return [[text or ""]]
    from tsugiki.data.rows import read_rows

    texts = read_rows(file, text=text).texts
    return (list(texts[at : at + _CHUNK]) for at in range(0, len(texts), _CHUNK))


def _incoming() -> Iterator[list[str]]:
    """Lines of standard input: those that are there are answered together, none waits for those to come."""
    source = cast("BufferedReader", sys.stdin.buffer)
    rest, done = b"", 0
    while data := source.read1(_READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        for at in range(0, len(lines), _CHUNK):
            yield [_decoded(line, done + at + i) for i, line in enumerate(lines[at : at + _CHUNK], start=1)]
        done += len(lines)
    if rest:
        yield [_decoded(rest, done + 1)]


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise RowsError("rows.not_utf8", path="-", line=number, byte=error.start) from None


def _answers(adapter: "Adapter", texts: list[str]) -> Iterator[Answer]:
    for text, prediction in zip(texts, adapter.predict(texts), strict=True):
        line = f"{prediction.label}\t{prediction.probability:.4f}\t{' '.join(text.split())}"
        yield Answer({"text": text, **prediction.to_dict()}, line)
