"""Rows: texts with labels, from wherever the user keeps them.

A source is a folder of `train|validation|test` files, one file, `-` (lines of standard input), a pandas DataFrame, a
`datasets` data set, a list of dicts, of (text, label) pairs or of texts, a mapping of split names to any of these, or
the name of a data set on the hub. Every source becomes a `_Table`, and every table becomes rows in one place, so that
columns, labels and faults mean the same everywhere. Messages name lines, never the texts in them.
"""

import csv
import gzip
import io
import json
import re
import sys
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from tsugiki import i18n, spec
from tsugiki.errors import MissingError, RowsError

# The first name of each list is ours and wins; the others are guesses, and two guesses that fit are one too many.
_TEXT_NAMES = [
    *("text", "sentence", "content", "message", "utterance", "query", "body", "description"),
    *("本文", "テキスト", "内容", "文章", "文"),
]
_LABEL_NAMES = [
    *("label", "class", "category", "intent", "target"),
    *("ラベル", "分類", "カテゴリ", "カテゴリー", "クラス"),
]
_SPLIT_NAMES = {"train": "train", "training": "train", "test": "test"}
_SPLIT_NAMES |= dict.fromkeys(("validation", "valid", "val", "dev"), "validation")

_CHARS_PER_TOKEN = 20
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class Rows:
    """One split.

    Args:
        texts: one text per row.
        labels: one label per row; None where the source has none.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Iterable[int]) -> "Rows":
        """The rows at `indices` (0-based), in that order."""
        chosen = list(indices)
        labels = None if self.labels is None else tuple(self.labels[i] for i in chosen)
        return Rows(tuple(self.texts[i] for i in chosen), labels)

    def digest(self) -> str:
        """sha256 over texts and labels in their order, as hexadecimal."""
        return spec.digest({"labels": self.labels, "texts": self.texts})


@dataclass(frozen=True)
class Splits:
    """The rows to learn from, to choose by and to report on; None where the source has none."""

    train: Rows | None = None
    validation: Rows | None = None
    test: Rows | None = None


def read_splits(source: Any, *, text: str | None = None, label: str | None = None) -> Splits:
    """Read labelled rows; a source of one table is all train.

    Rows without a text are left out, with a warning that says how many.

    Args:
        source: see the module.
        text: name of the column of texts; None to find it by name.
        label: name of the column of labels; None to find it by name.

    Raises:
        MissingError: the file or the hub's data set is not there, or a folder has no file named after a split.
        RowsError: rows cannot be read; no or several columns fit; a label is missing; nothing is left.
    """
    parts = _parts(source)
    return Splits(**{split or "train": _labelled(_table(part), text, label) for split, part in parts.items()})


def read_rows(source: Any, split: str | None = None, *, text: str | None = None, label: str | None = None) -> Rows:
    """Read rows to be answered; every row keeps its place, also one without a text.

    Labels come along where one column fits and no row lacks one; else `labels` is None.

    Args:
        source: see the module.
        split: `train`, `validation` or `test`; None for the only one. A source of one table ignores it.
        text: name of the column of texts; None to find it by name.
        label: name of the column of labels; None to find it by name.

    Raises:
        MissingError: the file, the hub's data set or the split is not there.
        RowsError: rows cannot be read; no or several columns fit as the text; a column that was named is not there.
    """
    parts = _parts(source)
    if split is None or None in parts:
        if len(parts) > 1:
            raise RowsError("rows.choose_split", allowed=", ".join(map(str, parts)))
        return _unlabelled(_table(next(iter(parts.values()))), text, label)
    if split not in parts:
        raise MissingError("rows.no_split", found=split, allowed=", ".join(map(str, parts)))
    return _unlabelled(_table(parts[split]), text, label)


def clip(text: str, max_tokens: int) -> str:
    """The start of `text` that can matter to a base that reads `max_tokens` tokens.

    Tokenisers read a text to its end before they truncate it, minutes for rows of whole books. 20 characters per token
    are far above what any language needs: the tokens kept are the same, unless a text is mostly blanks.
    """
    return readable(text[: _CHARS_PER_TOKEN * max_tokens])


def readable(text: str) -> str:
    """A text that can be tokenised and written: JSON can hold half a surrogate pair, for which U+FFFD stands in."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# --- tables to rows


@dataclass(frozen=True)
class _Table:
    name: str  # what messages call it
    columns: Sequence[str]
    column: Callable[[int], Sequence[Any]]  # cells of the column at a position
    lines: Sequence[int]  # where each row stands for the user, 1-based


def _labelled(table: _Table, text: str | None, label: str | None) -> Rows:
    if not table.lines:
        raise RowsError("rows.empty", path=table.name)
    texts = _strings(table, _pick(table, text, _TEXT_NAMES, "--text", "rows.no_text"))
    labels = _strings(table, _pick(table, label, _LABEL_NAMES, "--label", "rows.no_label"))
    kept = [i for i, value in enumerate(texts) if value.strip()]
    if not kept:
        raise RowsError("rows.empty", path=table.name)
    if len(kept) < len(texts):
        blank = [line for line, value in zip(table.lines, texts, strict=True) if not value.strip()]
        i18n.warn("rows.dropped_blank", path=table.name, count=len(blank), lines=_shown(blank))
    unlabelled = [table.lines[i] for i in kept if not labels[i].strip()]
    if unlabelled:
        raise RowsError("rows.missing_labels", path=table.name, count=len(unlabelled), lines=_shown(unlabelled))
    return Rows(tuple(texts[i] for i in kept), tuple(labels[i].strip() for i in kept))


def _unlabelled(table: _Table, text: str | None, label: str | None) -> Rows:
    if not table.lines:
        return Rows(())
    texts = _strings(table, _pick(table, text, _TEXT_NAMES, "--text", "rows.no_text"))
    fits = _fits(table, label, _LABEL_NAMES, "--label")
    try:
        labels = [value.strip() for value in _strings(table, fits[0])] if len(fits) == 1 else [""]
    except RowsError:  # a column that only looked like labels stops nobody who asks for answers
        if label is not None:
            raise
        labels = [""]
    return Rows(tuple(texts), tuple(labels) if all(labels) else None)


def _pick(table: _Table, named: str | None, known: Sequence[str], option: str, none_fits: str) -> int:
    """Position of the one column meant."""
    fits = _fits(table, named, known, option)
    if not fits:
        raise RowsError(none_fits, path=table.name, columns=_shown(table.columns))
    if len(fits) > 1:
        columns = _shown([table.columns[i] for i in fits])
        raise RowsError("rows.ambiguous_column", path=table.name, columns=columns, option=option)
    return fits[0]


def _fits(table: _Table, named: str | None, known: Sequence[str], option: str) -> list[int]:
    """Positions of the columns that may be meant."""
    if named is not None:
        fits = [i for i, column in enumerate(table.columns) if column == named]
        if not fits:
            columns = _shown(table.columns)
            raise RowsError("rows.no_such_column", path=table.name, found=named, columns=columns, option=option)
        return fits
    folded = [unicodedata.normalize("NFKC", column).strip().lower() for column in table.columns]
    ours = [i for i, column in enumerate(folded) if column == known[0]]
    return ours or [i for i, column in enumerate(folded) if column in known]


def _strings(table: _Table, at: int) -> list[str]:
    return [_cell(table, at, line, value) for line, value in zip(table.lines, table.column(at), strict=True)]


def _cell(table: _Table, at: int, line: int, value: Any) -> str:
    """One cell as a string; empty for a missing one."""
    if isinstance(value, str):
        return readable(value)
    if value is None or (isinstance(value, Real) and value != value):
        return ""
    if isinstance(value, Real) and not isinstance(value, Integral) and float(value).is_integer():
        return str(int(float(value)))  # a column of integers with a gap reaches us as floats
    if isinstance(value, Real):  # also numpy's numbers
        return str(value)
    column = _shown([table.columns[at]])
    raise RowsError("rows.bad_cell", path=table.name, line=line, column=column, found=type(value).__name__)


def _shown(names: Sequence[Any]) -> str:
    """A list short enough for a message; a file without a header has texts for column names."""
    first = ", ".join(str(name)[:30] for name in names[:8])
    return first + (", …" if len(names) > 8 else "")


# --- sources to tables


def _parts(source: Any) -> dict[str | None, Any]:
    """Split name to a source of one table, still unread; the key is None where the source is one table."""
    if isinstance(source, str | PathLike):
        return _named(fspath(source))
    if not isinstance(source, Mapping):
        return {None: source}
    found: dict[str | None, Any] = {_SPLIT_NAMES[key]: part for key, part in source.items() if key in _SPLIT_NAMES}
    if not found:
        raise MissingError("rows.no_splits", path=type(source).__name__, found=_shown(list(source)))
    return found


def _named(name: str) -> dict[str | None, Any]:
    """What stands behind a path or a hub name."""
    path = Path(name).expanduser()
    try:
        there = name == "-" or path.exists()
    except OSError:  # a name that no file can have, such as a whole text
        there = False
    if there:
        return _folder(path) if path.is_dir() else {None: path}
    is_hub_name = _HUB_NAME.fullmatch(name) and _format(path) not in _READERS
    if not is_hub_name or (path.parent != Path() and path.parent.is_dir()):
        raise MissingError("rows.no_file", path=name[:200])
    import datasets

    i18n.notify("rows.asking_hub", name=name)
    try:
        return _parts(datasets.load_dataset(name))
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise MissingError("rows.no_hub", name=name, reason=str(error).partition("\n")[0][:200]) from error


def _folder(folder: Path) -> dict[str | None, Any]:
    found: dict[str | None, Any] = {}
    names = sorted(folder.iterdir())
    for path in names:
        split = _SPLIT_NAMES.get(path.name.partition(".")[0].lower())
        if split is None or _format(path) not in _READERS:
            continue
        if split in found:
            raise RowsError("rows.two_files", split=split, first=found[split], second=path)
        found[split] = path
    if not found:
        raise MissingError("rows.no_splits", path=folder, found=_shown([path.name for path in names]))
    return found


def _table(source: Any) -> _Table:
    if isinstance(source, str | PathLike):
        return _file(Path(source).expanduser())
    if _is_a("pandas", "DataFrame", source):
        return _frame(source)
    if _is_a("datasets", "Dataset", source):
        return _dataset(source)
    if isinstance(source, Sequence):
        return _listed(source)
    raise RowsError("rows.unknown_source", found=type(source).__name__)


def _is_a(library: str, kind: str, value: object) -> bool:
    """Whether `value` is of a library's class; a library that is not loaded has no instances, so it stays unloaded."""
    loaded = sys.modules.get(library)
    return loaded is not None and isinstance(value, getattr(loaded, kind))


def _frame(frame: Any) -> _Table:
    def column(at: int) -> list[Any]:
        cells = frame.iloc[:, at].astype(object)
        return list(cells.where(cells.notna(), None))

    return _Table("DataFrame", [str(name) for name in frame.columns], column, range(1, len(frame) + 1))


def _dataset(dataset: Any) -> _Table:
    def column(at: int) -> list[Any]:
        name = dataset.column_names[at]
        cells = list(dataset.with_format(None).select_columns([name])[:][name])
        names = getattr(dataset.features[name], "names", None)  # of a ClassLabel, which stores numbers, -1 for none
        return cells if names is None else [None if i is None or i < 0 else names[i] for i in cells]

    return _Table("Dataset", dataset.column_names, column, range(1, len(dataset) + 1))


def _listed(items: Sequence[Any]) -> _Table:
    lines = range(1, len(items) + 1)
    if all(isinstance(item, Mapping) for item in items):
        return _records("list", items, lines)
    if all(isinstance(item, str) for item in items):
        return _Table("list", ("text",), lambda _: items, lines)
    for line, item in zip(lines, items, strict=True):
        if not isinstance(item, Sequence) or isinstance(item, str) or len(item) != 2:
            raise RowsError("rows.bad_item", line=line, found=type(item).__name__)
    return _Table("list", ("text", "label"), lambda at: [pair[at] for pair in items], lines)


def _records(name: str, records: Sequence[Mapping[str, Any]], lines: Sequence[int]) -> _Table:
    columns = list(dict.fromkeys(key for record in records for key in record))
    return _Table(name, columns, lambda at: [record.get(columns[at]) for record in records], lines)


# --- files to tables


def _file(path: Path) -> _Table:
    if str(path) == "-":
        return _lines(str(path), sys.stdin.buffer.read())
    reader = _READERS.get(_format(path))
    if reader is None:
        raise RowsError("rows.unknown_format", path=path, allowed=", ".join(_READERS))
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MissingError("rows.no_file", path=path) from None
    if path.suffix.lower() == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            raise RowsError("rows.damaged", path=path) from None
    return reader(str(path), data)


def _format(path: Path) -> str:
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def _decode(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RowsError("rows.not_utf8", path=name, line=line, byte=error.start) from None


def _lines(name: str, data: bytes) -> _Table:
    content = _decode(name, data).removesuffix("\n")
    texts = [line.removesuffix("\r") for line in content.split("\n")] if content else []
    return _Table(name, ("text",), lambda _: texts, range(1, len(texts) + 1))


def _jsonl(name: str, data: bytes) -> _Table:
    records, lines = [], []
    for line, content in enumerate(_decode(name, data).split("\n"), start=1):
        if content.strip():
            records.append(_object(name, line, content))
            lines.append(line)
    return _records(name, records, lines)


def _object(name: str, line: int, content: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RowsError("rows.bad_json", path=name, line=line)
    return value


def _json(name: str, data: bytes) -> _Table:
    content = _decode(name, data)
    try:
        values = json.loads(content) if content.strip() else []
    except json.JSONDecodeError as error:
        raise RowsError("rows.bad_json", path=name, line=error.lineno) from None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise RowsError("rows.not_a_list", path=name)
    return _records(name, values, range(1, len(values) + 1))


def _separated(delimiter: str) -> Callable[[str, bytes], _Table]:
    def read(name: str, data: bytes) -> _Table:
        reader = csv.reader(io.StringIO(_decode(name, data), newline=""), delimiter=delimiter, strict=True)
        records: list[list[str]] = []
        lines: list[int] = []
        line = 1
        usual = csv.field_size_limit(2**31 - 1)  # the usual 131,072 characters are less than a long report
        try:
            for record in reader:
                lone = bool(records) and len(records[0]) == 1  # a blank line is then a row, of one empty text
                if record or lone:
                    records.append(record or [""])
                    lines.append(line)
                line = reader.line_num + 1
        except csv.Error:
            raise RowsError("rows.bad_csv", path=name, line=line) from None
        finally:
            csv.field_size_limit(usual)
        columns, *body = records or [[]]
        for line, record in zip(lines[1:], body, strict=True):
            if len(record) != len(columns):
                raise RowsError("rows.bad_width", path=name, line=line, found=len(record), allowed=len(columns))
        return _Table(name, columns, lambda at: [record[at] for record in body], lines[1:])

    return read


def _parquet(name: str, data: bytes) -> _Table:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(io.BytesIO(data))
        table.validate(full=True)  # else bytes that are not UTF-8 come up later, as a bare UnicodeDecodeError
    except (pyarrow.ArrowException, OSError):
        raise RowsError("rows.damaged", path=name) from None
    return _Table(name, table.column_names, lambda at: table.column(at).to_pylist(), range(1, table.num_rows + 1))


_READERS: dict[str, Callable[[str, bytes], _Table]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".parquet": _parquet,
}
